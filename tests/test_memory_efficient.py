"""PyTorch's `memory_efficient` blocks compute what plain ones do, keep less, and are plain where they must be."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest

import spec
from tests.cases import SMALL, small
from tests.support import photographs, require, verdict
from tests.test_steps import NETWORKS, RATE, SETTINGS, TOLERANCE, departure, oracle, running_statistics, trained


@pytest.fixture(autouse=True)
def torch():
    require("torch")
    import torch

    torch.manual_seed(0)
    return torch


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    """How many blocks ran as one function each."""
    from densenet_torch import checkpointing

    found, right = [], checkpointing.dense_features

    def counted(layers, x):
        found.append(len(layers))
        return right(layers, x)

    monkeypatch.setattr(checkpointing, "dense_features", counted)
    return found


@pytest.fixture
def backend(monkeypatch):
    """The backend, whose models are all memory-efficient."""
    import densenet_torch

    right = densenet_torch.build

    def build(network, dtype=None):
        model = right(network, dtype)
        model.set_grad_checkpointing()
        return model

    monkeypatch.setattr(densenet_torch, "build", build)
    return densenet_torch


def prepared(network: spec.Network, change=lambda model: None, dtype: str = "float64"):
    """A plain model in training, its weights random, changed; and the same one, memory-efficient."""
    import densenet_torch

    plain = densenet_torch.build(network, dtype)
    weights = spec.randomize(spec.initialize(network, 0, np.float64), 0)
    densenet_torch.load_weights(plain, {name: array.astype(dtype) for name, array in weights.items()})
    change(plain.train())
    efficient = copy.deepcopy(plain)
    efficient.set_grad_checkpointing()
    return plain, efficient


def images_of(torch, network, count=4):
    return torch.randn(count, *network.input_shape, dtype=torch.float64)


def found(torch, model, x):
    """Loss and gradients of a pass, that of the images among them; and the buffers afterwards."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 5)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), "input": x.grad} | gradients, dict(model.named_buffers())


def assert_the_same(torch, plain, efficient, x):
    """Gradients within 1e-10 of the largest of their layer's, buffers within 1e-12."""
    (expected, buffers), (gradients, buffers_found) = (found(torch, model, x) for model in (plain, efficient))
    assert list(gradients) == list(expected)
    for name, gradient in expected.items():
        layer = [each.abs().max() for other, each in expected.items() if other.split(".")[:3] == name.split(".")[:3]]
        assert (gradients[name] - gradient).abs().max() <= 1e-10 * max(layer), name
    for name, buffer in buffers.items():
        torch.testing.assert_close(buffers_found[name], buffer, rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "float64") for case in ("plain", "bottleneck", "biased", "se_layer")] + [("bottleneck", "float32")],
)
def test_gradients_agree(case, dtype, backend, runs):
    network = SMALL[case]
    result = verdict(network, "torch", photographs(network.input_shape, 3), dtype, checks=["gradients"])
    assert result.agrees, result.problem
    assert runs == ([] if case == "se_layer" else [2, 3])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "densenet100_k12_bc", "densenet40_k12", "se_densenet121"])
def test_gradients_of_variants_agree(name, backend):
    network = spec.variant(name)
    size = (network.in_channels, 64, 64) if network.input_shape[1] > 32 else network.input_shape
    result = verdict(network, "torch", photographs(size, 3), "float64", checks=["gradients"])
    assert result.agrees, result.problem


def test_eight_steps_agree(backend, runs):
    losses, history = trained(
        backend, NETWORKS["densenet"], lambda model: backend.sgd(model, RATE, **SETTINGS["nesterov_decayed"])
    )
    expected_losses, expected = oracle("densenet", "nesterov_decayed")
    assert losses == pytest.approx(expected_losses, rel=TOLERANCE)
    assert departure(history[-1], expected[-1]) <= TOLERANCE
    for name, array in running_statistics(NETWORKS["densenet"], expected, backend.RUNNING_UPDATE).items():
        assert history[-1][name] == pytest.approx(array, rel=TOLERANCE, abs=1e-14), name
    assert runs == [2, 1] * 8


def norms(model):
    import torch

    return [module for module in model.features.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def each_norm(**values):
    def change(model):
        for norm in norms(model):
            for name, value in values.items():
                setattr(norm, name, value)

    return change


def without_statistics(model):
    for norm in norms(model):
        norm.track_running_stats, norm.running_mean, norm.running_var, norm.num_batches_tracked = (
            False,
            None,
            None,
            None,
        )


def without_weights(model):
    for norm in norms(model):
        norm.weight = norm.bias = None


def half_frozen(model):
    for norm in norms(model)[::2]:
        norm.eval()


def some_parameters_frozen(model):
    for parameter in list(model.parameters())[::3]:
        parameter.requires_grad_(False)


def wider(model):
    import torch

    model.features.denseblock1.denselayer1.conv1 = torch.nn.Conv2d(6, 16, 1, bias=True, dtype=torch.float64)


CHANGED = {
    "as built": lambda model: None,
    "frozen statistics": lambda model: [norm.eval() for norm in norms(model)],
    "half of them": half_frozen,
    "inference": lambda model: model.eval(),
    "averages of all batches": each_norm(momentum=None),
    "another momentum and epsilon": lambda model: (
        each_norm(momentum=0.5)(model),
        setattr(norms(model)[3], "eps", 0.1),
    ),
    "no running statistics": without_statistics,
    "no running statistics in inference": lambda model: without_statistics(model.eval()),
    "running statistics not updated": each_norm(track_running_stats=False),
    "norms without weights": without_weights,
    "some parameters frozen": some_parameters_frozen,
    "a bias added": wider,
    "channels last": lambda model: model.to(memory_format=__import__("torch").channels_last),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_is_set_by_hand_counts(torch, change, runs):
    network = SMALL["bottleneck"]
    plain, efficient = prepared(network, CHANGED[change])
    x = images_of(torch, network)
    for _ in range(2):
        assert_the_same(torch, plain, efficient, x)
    assert runs == [2, 3] * 2


def test_dropout_drops_the_same(torch, runs):
    plain, efficient = prepared(SMALL["dropout"])
    assert_the_same(torch, plain, efficient, images_of(torch, SMALL["dropout"]))
    for model in (plain, efficient):
        model.features.denseblock1.denselayer2.dropout.eval()
    assert_the_same(torch, plain, efficient, images_of(torch, SMALL["dropout"]))
    assert runs == [2, 3] * 2


def test_layers_that_are_called_again_take_the_same_steps(torch, runs):
    """Bit for bit, with dropout; those with squeeze-and-excitation."""
    import densenet_torch

    images, labels, losses = photographs((3, 40, 40)), np.array([0, 1]), []
    models = prepared(SMALL["se_everywhere"])
    for model in models:
        torch.manual_seed(0)
        optimizer = densenet_torch.sgd(model, 0.1, momentum=0.9)
        losses.append([densenet_torch.step(model, optimizer, images, labels)[0] for _ in range(2)])
    assert losses[0] == losses[1]
    plain, efficient = (model.state_dict() for model in models)
    assert all(torch.equal(value, efficient[name]) for name, value in plain.items())
    assert runs == []


def first(model):
    return model.features.denseblock1.denselayer1


def parametrized(model):
    import torch

    class Sine(torch.nn.Module):
        def forward(self, weight):
            return weight.sin()

    torch.nn.utils.parametrize.register_parametrization(first(model).conv2, "weight", Sine())


def replaced(name, make):
    def change(model):
        import torch

        torch.manual_seed(0)
        setattr(first(model), name, make(torch.nn))

    return change


FALLEN_BACK = {
    "a hook": lambda model: first(model).norm2.register_forward_hook(lambda module, given, output: output.sin()),
    "a hook before": lambda model: first(model).register_forward_pre_hook(lambda module, given: (given[0].sin(),)),
    "a hook on gradients": lambda model: first(model).conv1.register_full_backward_hook(
        lambda module, of_input, of_output: (of_input[0] * 2,)
    ),
    "a hook on gradients before": lambda model: first(model).conv1.register_full_backward_pre_hook(
        lambda module, of_output: (of_output[0] * 2,)
    ),
    "another dropout": replaced("dropout", lambda nn: nn.AlphaDropout(0.5)),
    "padding by its name": replaced("conv2", lambda nn: nn.Conv2d(16, 4, 5, padding="same").double()),
    "another activation": replaced("relu1", lambda nn: nn.ELU()),
    "another norm": replaced("norm2", lambda nn: nn.GroupNorm(2, 16, dtype=__import__("torch").float64)),
    "a parametrized convolution": parametrized,
    "a circular convolution": lambda model: setattr(first(model).conv2, "padding_mode", "circular"),
    "a layer of one's own": lambda model: setattr(
        first(model), "forward", lambda x: __import__("torch").cat([x, x[:, :4] ** 2], dim=1)
    ),
}


@pytest.mark.parametrize("change", FALLEN_BACK)
def test_what_is_replaced_or_watched_runs_as_it_is(torch, change, runs):
    """The second block still is one function. And the control: each change shows."""
    network = SMALL["bottleneck"]
    plain, efficient = prepared(network)
    for model in (plain, efficient):
        FALLEN_BACK[change](model)
    x = images_of(torch, network)
    assert_the_same(torch, plain, efficient, x)
    assert runs == [3]
    as_built, _ = prepared(network)
    assert (found(torch, as_built, x)[0]["input"] - found(torch, plain, x)[0]["input"]).abs().max() > 1e-4


def test_hooks_on_all_modules_are_called(torch, runs):
    _, efficient = prepared(SMALL["bottleneck"])
    seen = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        efficient(images_of(torch, SMALL["bottleneck"]))
    finally:
        handle.remove()
    assert runs == []
    assert first(efficient).norm2 in seen


KINDS = ["a tensor of one's own", "a weight of one's own"]


@pytest.mark.parametrize(
    "how", ["autocast", "bfloat16", "meta", "no_grad", "tangents", "a transform", "traced", *KINDS]
)
def test_where_it_is_not_meant_for_layers_run_as_they_are(torch, how, runs):
    dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
    device = "meta" if how == "meta" else "cpu"
    plain, efficient = (model.to(device, dtype).eval().features.denseblock1 for model in prepared(SMALL["bottleneck"]))
    x = torch.randn(2, 6, 4, 4, dtype=dtype, device=device)
    own = type("Own", (torch.Tensor,), {})
    if how == "a tensor of one's own":
        x = x.as_subclass(own)
    if how == "a weight of one's own":
        weight = efficient.denselayer1.conv1.weight
        efficient.denselayer1.conv1.weight = torch.nn.Parameter(weight.detach().as_subclass(own))
    context = {"autocast": torch.autocast("cpu", torch.bfloat16), "no_grad": torch.no_grad()}.get(how, nullcontext())

    def run(model):
        if how == "a transform":
            return torch.func.vmap(lambda image: model(image[None]))(x)
        if how == "tangents":
            with torch.autograd.forward_ad.dual_level():
                dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
                return torch.autograd.forward_ad.unpack_dual(model(dual)).tangent
        return torch.jit.trace(model, x)(x) if how == "traced" else model(x)

    with context:
        torch.testing.assert_close(run(efficient), run(plain))
    assert runs == []


def test_what_a_norm_refuses_is_refused_in_its_words(torch, runs):
    _, efficient = prepared(SMALL["bottleneck"])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        efficient.features.denseblock1(torch.zeros(1, 6, 1, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="expected 4D input"):
        efficient.features.denseblock1(torch.zeros(6, 4, 4, dtype=torch.float64))
    assert runs == []


def test_a_graph_is_gone_through_twice(torch):
    """Where layers are called again, too; running statistics are those of one pass."""
    for network in (SMALL["bottleneck"], SMALL["se_layer"]):
        plain, efficient = prepared(network)
        x = images_of(torch, network)
        for model in (plain, efficient):
            loss = model(x).sum()
            loss.backward(retain_graph=True)
            loss.backward()
        for name, buffer in plain.named_buffers():
            torch.testing.assert_close(efficient.get_buffer(name), buffer, rtol=1e-12, atol=1e-14, msg=name)
        expected = plain.features.conv0.weight.grad
        torch.testing.assert_close(efficient.features.conv0.weight.grad, expected, rtol=1e-9, atol=1e-11)


def test_gradients_of_gradients_are_refused_in_a_sentence(torch):
    _, efficient = prepared(SMALL["bottleneck"])
    x = images_of(torch, SMALL["bottleneck"]).requires_grad_()
    with pytest.raises(spec.SpecError, match=r"no gradients of gradients: call set_grad_checkpointing\(False\)"):
        torch.autograd.grad(efficient(x).sum(), x, create_graph=True)


def test_a_gradient_that_is_given_stays_as_it_is(torch):
    _, efficient = prepared(SMALL["bottleneck"])
    output = efficient.features.denseblock1(torch.randn(2, 6, 4, 4, dtype=torch.float64))
    given = torch.randn_like(output)
    before = given.clone()
    output.backward(given)
    assert torch.equal(given, before)


def test_weights_changed_before_the_backward_pass_are_noticed(torch):
    _, efficient = prepared(SMALL["bottleneck"])
    loss = efficient(images_of(torch, SMALL["bottleneck"])).sum()
    with torch.no_grad():
        first(efficient).conv1.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def kept(torch, model, x) -> int:
    """How many values of feature maps a pass keeps for the one back: of what is as long as the batch, and has a map."""
    sizes = {}

    def pack(tensor):
        if tensor.ndim == 4 and len(tensor) == len(x):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(x)
    del output
    return sum(sizes.values())


def test_what_is_kept_grows_as_depth_does(torch):
    """By the same for each layer, where a plain block keeps all channels again, several times."""
    steps = {}
    for name in ("plain", "efficient"):
        counts = []
        for layers in (2, 6, 10, 14):
            network = small(growth_rate=12, bn_size=4, block_config=[layers], input_size=16)
            model = prepared(network)[name == "efficient"]
            x = torch.randn(3, 6, 8, 8, dtype=torch.float64).requires_grad_()
            counts.append(kept(torch, model.features.denseblock1, x))
        steps[name] = np.diff(counts)
    assert list(steps["efficient"]) == [3 * 8 * 8 * 4 * (12 + 48)] * 3
    assert steps["plain"][2] > 1.5 * steps["plain"][0]


def test_a_block_whose_layers_are_gone_passes_on_what_it_gets(torch):
    _, efficient = prepared(SMALL["bottleneck"])
    del efficient.features.denseblock1[:]
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    assert efficient.features.denseblock1(x) is x


def test_it_is_switched_on_and_off(torch):
    import densenet_torch

    plain, efficient = prepared(SMALL["bottleneck"])
    images = photographs((3, 40, 40))
    assert list(densenet_torch.trace(efficient, images)) == list(densenet_torch.trace(plain, images))
    assert list(efficient.state_dict()) == list(plain.state_dict())
    efficient.set_grad_checkpointing(False)
    assert type(efficient.features.denseblock1) is type(plain.features.denseblock1)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compilers_see_plain_blocks(torch, training, runs):
    plain, efficient = (model.train(training) for model in prepared(SMALL["bottleneck"]))
    compiled = torch.compile(efficient, fullgraph=True, backend="aot_eager")
    assert_the_same(torch, plain, compiled._orig_mod, images_of(torch, SMALL["bottleneck"]))
    x = images_of(torch, SMALL["bottleneck"])
    runs.clear()
    torch.testing.assert_close(compiled(x), plain(x))
    assert runs == []
