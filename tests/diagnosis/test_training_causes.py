"""What a model of PyTorch may do otherwise in training, each with the sentence that must be said of it."""

import pytest

import spec
from densenet_tools.diagnosis import diagnose, to_text
from tests.cases import small
from tests.diagnosis.test_training import first
from tests.support import require

NETWORK = small(bn_size=4, compression=0.5)
LAYER = "features.denseblock2.denselayer1"


@pytest.fixture
def torch():
    require("torch")
    import torch

    return torch


@pytest.fixture
def model(torch):
    import densenet_torch

    return densenet_torch.build(NETWORK)


def said(model, network: spec.Network = NETWORK) -> str:
    return first(diagnose(model, network, training=True))


def new_channels(layer, x):
    return layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x))))))


def replaced(model, path, forward):
    module = model.get_submodule(path)
    module.forward = forward(module, module.forward)


def test_nothing_passes_back_into_a_branch(torch, model):
    replaced(model, LAYER, lambda layer, _: lambda x: torch.cat([x, new_channels(layer, x.detach())], 1))
    assert said(model).startswith(f"{LAYER}.norm1, backward: no gradient to what it is given:")


def test_nothing_passes_back_out_of_a_branch(torch, model):
    replaced(model, LAYER, lambda layer, _: lambda x: torch.cat([x, new_channels(layer, x).detach()], 1))
    assert said(model).startswith(f"{LAYER}, backward: no gradient to the new channels:")


def test_nothing_passes_back_through_a_transition(model):
    """Which looks like the last branch at that, but for the layers before."""
    replaced(model, "features.transition1", lambda _, forward: lambda x: forward(x.detach()))
    assert said(model).startswith("features.transition1.norm, backward: no gradient to what it is given:")


def test_half_of_it_passes_back(model):
    replaced(model, "features.transition1", lambda _, forward: lambda x: forward(0.5 * x + 0.5 * x.detach()))
    start = "features.transition1.norm, backward: the gradient to what it is given is 0.5 times what it should be:"
    assert said(model).startswith(start)


def test_a_block_is_computed_without_gradients(torch, model):
    replaced(model, "features.denseblock1", lambda _, forward: torch.no_grad()(forward))
    text = to_text(diagnose(model, NETWORK, training=True))
    assert "features.denseblock1.denselayer1.norm1, backward: computed without gradients: weight and bias get" in text
    assert "features.pool0, backward: no gradient to the channels before; no gradient to what it is given:" in text


def test_a_relu_passes_everything_back(torch, model):
    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.relu()

        @staticmethod
        def backward(context, gradient):
            return gradient

    replaced(model, "features.transition1.relu", lambda *_: Guided.apply)
    start = "features.transition1.relu, backward: the gradient passes where the input is negative, too:"
    assert said(model).startswith(start)


def test_a_batch_norm_takes_its_statistics_for_constants(torch, model):
    def forward(norm, own):
        def normalized(x):
            if not norm.training:
                return own(x)
            var, mean = torch.var_mean(x.detach(), (0, 2, 3), correction=0)
            norm.running_mean.lerp_(mean, 0.1)
            norm.running_var.lerp_(var * x[:, 0].numel() / (x[:, 0].numel() - 1), 0.1)
            return torch.nn.functional.batch_norm(x, mean, var, norm.weight, norm.bias, eps=norm.eps)

        return normalized

    replaced(model, "features.norm5", forward)
    assert said(model).startswith("features.norm5, backward: no gradient through the batch's mean and variance:")


def test_scales_are_frozen(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "norm" not in name or name.endswith("bias")
    assert said(model).startswith("features.norm5 and 12 more up to features.norm0, backward: weight gets no gradient:")


def test_a_gradient_is_scaled_and_another_clipped(model):
    model.classifier.weight.register_hook(lambda gradient: 2 * gradient)
    model.features.norm5.bias.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    model.classifier.bias.register_hook(lambda gradient: gradient + 0.25 * model.classifier.bias)
    text = to_text(diagnose(model, NETWORK, training=True))
    assert "classifier, backward: weight gets 2 times its gradient:" in text
    assert "features.norm5, backward: bias gets its gradient clipped to 0.01:" in text
    assert "classifier, backward: bias gets 0.25 times itself besides its gradient:" in text


def test_a_batch_norm_stays_in_inference_mode(model):
    norm = model.features.norm5.eval()
    norm.train = lambda *_: norm
    assert said(model).startswith("features.norm5, in training: running statistics, not the batch's:")


def test_a_variance_is_biased(torch, model):
    def forward(norm, own):
        def normalized(x):
            before = norm.running_var.clone()
            out = own(x)
            if norm.training:
                norm.running_var.data.copy_(before.lerp(x.detach().var((0, 2, 3), correction=0), 0.1))
            return out

        return normalized

    replaced(model, "features.norm5", forward)
    start = "features.norm5, running statistics: the batch's variance is biased, the framework's own is unbiased:"
    assert said(model).startswith(start)


def test_running_statistics_are_left_alone(model):
    model.features.norm5.momentum = 0.0
    assert said(model).startswith("features.norm5, running statistics: running statistics are not updated:")


def test_running_statistics_are_of_the_last_batch(model):
    model.features.norm5.momentum = None  # a cumulative average, of one batch
    assert said(model).startswith(
        "features.norm5, running statistics: keeps 0 of the running statistics, 0.9 expected:"
    )


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_anew_updates_statistics_twice(reentrant, torch, model):
    """Gradients are right, though the values in between are not kept."""
    from torch.utils.checkpoint import checkpoint

    replaced(model, LAYER, lambda _, forward: lambda x: checkpoint(forward, x, use_reentrant=reentrant))
    found = diagnose(model, NETWORK, training=True)
    start = f"{LAYER}.norm1 and {LAYER}.norm2, running statistics: running statistics are updated twice in a pass"
    assert first(found).startswith(start)
    assert found.training["gradients"] < 1e-5


def test_dropout_is_more_than_the_network_has(torch, model):
    functional = torch.nn.functional
    replaced(model, f"{LAYER}.conv2", lambda conv, own: lambda x: functional.dropout(own(x), 0.25, conv.training))
    assert said(model).startswith(f"{LAYER}.conv2, in training: dropout of 0.25 behind it, which the network has not:")


@pytest.mark.parametrize(("rate", "text"), [(0.5, "dropout of 0.5, 0.25 expected"), (0.0, "no dropout, 0.25 expected")])
def test_dropout_has_another_rate(rate, text, torch):
    import densenet_torch

    model = densenet_torch.build(small(block_config=[1], dropout=rate))
    start = f"features.denseblock1.denselayer1.dropout, in training: {text}:"
    assert said(model, small(block_config=[1], dropout=0.25)).startswith(start)


def test_what_inference_shows_is_told_once(torch, model):
    """Images that the model normalizes, a softmax at its end, a pool in two parts: gradients are right all the same."""
    replaced(model, "features.conv0", lambda _, forward: lambda x: forward(2 * x + 1))
    replaced(model, "classifier", lambda _, forward: lambda x: forward(x).softmax(1))
    model.features.transition1.pool = torch.nn.Sequential(torch.nn.AvgPool2d(2, 1), torch.nn.MaxPool2d(1, 2))
    text = to_text(diagnose(model, NETWORK, training=True))
    assert text.splitlines()[1].strip().startswith("before features.conv0: images normalized by mean (-0.5,")
    assert "backward" not in text
    assert "running statistics" not in text
    assert "in training" not in text


class Decoupled:
    """Decay as of AdamW, in front of a descent."""

    def __init__(self, torch, model, **settings):
        self.inner = torch.optim.SGD(model.parameters(), **settings)
        self.param_groups, self.torch = self.inner.param_groups, torch

    def step(self):
        with self.torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * 1e-4)
        self.inner.step()


def optimizers(torch, model):
    sgd, parameters = torch.optim.SGD, list(model.parameters())
    kernels, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim == 1]
    clipped = sgd(parameters, 0.1)
    clipped.register_step_pre_hook(lambda *_: torch.nn.utils.clip_grad_value_(parameters, 0.5))
    return {
        "the weight decay bypasses the momentum": Decoupled(torch, model, lr=0.1, momentum=0.9, nesterov=True),
        "dampening of 0.5": sgd(parameters, 0.1, 0.9, dampening=0.5, weight_decay=1e-4),
        "no weight decay of features.norm0.weight and 25 more of 40 parameters": sgd(
            [{"params": kernels, "weight_decay": 1e-4}, {"params": vectors}], 0.1, 0.9
        ),
        "does not move features.norm0.weight and 26 more of 40 parameters": sgd(kernels, 0.1, 0.9),
        "a learning rate 0.1 times that of the others for features.conv0.weight and 12 more of 40 parameters": sgd(
            [{"params": kernels, "lr": 0.01}, {"params": vectors}], 0.1, 0.9
        ),
        "gradients are clipped": clipped,
        "the first step moves all values alike, as Adam and its relatives do: it is no gradient descent": (
            torch.optim.AdamW(parameters)
        ),
    }


def test_an_optimizer_is_not_the_descent(torch, model):
    for text, optimizer in optimizers(torch, model).items():
        found = diagnose(model, NETWORK, optimizer=optimizer)
        assert first(found).startswith(f"optimizer step: {text}: explains"), to_text(found)
        assert len(found.findings) == 1


@pytest.mark.parametrize("learning_rate", [1e-5, 1e-3, 3.0])
def test_a_decay_is_seen_through_the_rounding_of_float32(learning_rate, torch, model):
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, 0.9, weight_decay=1e-4)
    right = {"learning_rate": learning_rate, "momentum": 0.9, "weight_decay": 1e-4}
    found = diagnose(model, NETWORK, optimizer=optimizer, settings=right)
    assert found.agrees, to_text(found)
    assert f"has learning_rate {learning_rate:g}, momentum 0.9, weight_decay 0.0001" in found.notes[0]
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, 0.9, weight_decay=5e-4)
    wrong = to_text(diagnose(model, NETWORK, optimizer=optimizer, settings=right))
    assert "optimizer step: weight_decay 0.0005" in wrong
    assert ", 0.0001 expected:" in wrong
