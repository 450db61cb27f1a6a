"""The fused PyTorch model: the same logits as the reference, whatever the network, the batch and what was changed."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

import spec
from densenet_tools.parity.tolerance import OUTPUTS
from spec.threads import lock_of
from tests.cases import CASES, VARIANTS, small, squeezed
from tests.support import loaded, require

NETWORK = small(bn_size=2, compression=0.5, **squeezed("layer", "block"))
WEIGHTS = spec.randomize(spec.initialize(NETWORK, 0, np.float64), 0)
QUICK = ("densenet40_k12_bc", "densenet_d2l")
COMPILED = ("se_everywhere", "residual_normed")


@pytest.fixture(scope="module")
def backend():
    return require("torch")


@pytest.fixture
def torch(backend):
    import torch

    return torch


@pytest.fixture
def module(backend):
    """The file: its name in the package is its function's."""
    return sys.modules["densenet_torch.fusion"]


@pytest.fixture
def model(backend):
    return loaded(backend, NETWORK, WEIGHTS)


def noise(*shape, dtype="float64"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def difference(found, expected):
    """The largest, relative to the largest value."""
    return abs(found - expected).max() / abs(expected).max()


def off(executor, network, shape, dtype, weights=None, count=2):
    """How far an executor's logits are from those that the reference computes in float64 with the same weights."""
    weights = weights or spec.randomize(spec.initialize(network, 0, np.dtype(dtype).type), 0)
    exact = {name: array.astype("float64") for name, array in weights.items()}
    images, reference, backend = noise(count, *shape, dtype=dtype), require("numpy"), require("torch")
    expected = reference.predict(loaded(reference, network, exact), images.astype("float64"))
    return difference(backend.EXECUTORS[executor](loaded(backend, network, weights), images), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_computes_what_the_reference_does(backend, case, dtype):
    assert off("fused", case.network, case.input_shape, dtype) < OUTPUTS[dtype]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in VARIANTS])
def test_every_variant_computes_what_the_reference_does(backend, name, dtype):
    case = VARIANTS[name]
    assert off("fused", case.network, case.input_shape, dtype) < OUTPUTS[dtype]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_it_computes_what_the_reference_does(backend, name):
    case = CASES[name]
    assert off("fused_compiled", case.network, case.input_shape, "float64") < OUTPUTS["float64"]


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-30, 1e-8, 1e6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("norm", ["denselayer2.norm1", "denselayer2.norm2"])
def test_any_weight_of_a_norm_is_right(backend, norm, dtype, scale):
    network = small(bn_size=2)
    weights = spec.randomize(spec.initialize(network, 0, np.dtype(dtype).type), 0)
    weights[f"features.denseblock2.{norm}.weight"][::2] *= np.asarray(scale, dtype)
    assert off("fused", network, (3, 40, 40), dtype, weights) < OUTPUTS[dtype]


def test_narrow_floats_lose_no_more_than_in_the_model_itself(backend, torch, model):
    images = noise(4, 3, 40, 40)
    expected = backend.predict(model, images)
    narrow = model.to(torch.bfloat16).eval()
    found = [difference(backend.predict(each, images), expected) for each in (backend.fused(narrow), narrow)]
    assert found[0] < 2 * found[1]


def test_one_model_takes_any_batch_and_size(backend, model):
    fused = backend.fused(model)
    for shape in [(2, 3, 40, 40), (1, 3, 33, 64), (3, 3, 64, 17), (2, 3, 40, 40)]:
        images = noise(*shape)
        assert difference(backend.predict(fused, images), backend.predict(model, images)) < 1e-12


@pytest.mark.parametrize("pixels", [1, 250, 500])
def test_a_batch_in_parts_is_the_whole_batch(backend, module, monkeypatch, model, pixels):
    images = noise(5, 3, 40, 40)  # 10x10 maps in the first block
    monkeypatch.setattr(module, "AT_ONCE", pixels)
    assert difference(backend.predict(backend.fused(model), images), backend.predict(model, images)) < 1e-12


@pytest.mark.parametrize("pixels", [0, 200, 10**6])
def test_few_pixels_and_many_are_computed_the_same(backend, module, monkeypatch, model, pixels):
    images = noise(2, 3, 40, 40)
    monkeypatch.setattr(module, "FEW", pixels)
    assert difference(backend.predict(backend.fused(model), images), backend.predict(model, images)) < 1e-12


def test_stages_run_on_a_few_images_at_a_time_and_maps_are_channels_last(backend, torch, module, monkeypatch, model):
    monkeypatch.setattr(module, "AT_ONCE", 200)
    fused, batches, last = backend.fused(model), [], []
    for each in fused.modules():
        if isinstance(each, (module.FusedDenseBlock, module.FusedTransition)):
            each.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
        if isinstance(each, torch.nn.Conv2d):
            each.register_forward_pre_hook(
                lambda _, args: last.append(args[0].is_contiguous(memory_format=torch.channels_last))
            )
    backend.predict(fused, noise(5, 3, 40, 40))
    assert batches == [2, 2, 2, 2, 1, 1, 5]  # 10x10 maps in the first block, 5x5 in the second
    assert set(last) == {True}


def test_threads_do_not_see_each_others_maps(backend, torch, model):
    fused = backend.fused(model)
    batches = [torch.from_numpy(noise(2, 3, size, size) * size) for size in (32, 40, 40, 48) * 2]
    expected = [fused(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(fused, batches))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_it_waits_for_what_changes_the_model(backend, model):
    with ThreadPoolExecutor(1) as threads:
        with lock_of(model):
            fused = threads.submit(backend.fused, model)
            assert not wait([fused], timeout=0.05).done
        fused.result()


def test_the_model_is_left_as_it_was_and_shares_nothing_with_its_copy(backend, torch, model):
    model.features.denseblock1.eval()
    before, modes = copy.deepcopy(model.state_dict()), [each.training for each in model.modules()]
    state = torch.get_rng_state()
    fused = backend.fused(model)
    images = noise(2, 3, 40, 40)
    expected = backend.predict(fused, images)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert [each.training for each in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    assert np.array_equal(backend.predict(fused, images), expected)


def test_it_does_not_train(backend, torch, model):
    fused = backend.fused(model)
    with pytest.raises(spec.SpecError, match="for inference: train the model it was made of"):
        fused.train()
    with pytest.raises(spec.SpecError, match="for inference: train the model it was made of"):
        backend.loss_and_gradients(fused, noise(2, 3, 40, 40), np.array([0, 1]))
    images = torch.from_numpy(noise(2, 3, 40, 40)).requires_grad_()
    with pytest.raises(spec.SpecError, match="has no gradients: take those of the model"):
        fused(images)
    with torch.no_grad():
        assert not fused(images).requires_grad


def test_what_it_cannot_take_is_refused(backend, torch, model):
    with pytest.raises(spec.SpecError, match="takes a model that densenet_torch built, found a Linear"):
        backend.fused(torch.nn.Linear(2, 2))
    with pytest.raises(spec.SpecError, match="found a FeatureMaps"):
        backend.fused(backend.densenet40_k12_bc(features_only=True))
    with pytest.raises(spec.SpecError, match="takes images of 3 channel"):
        backend.fused(model)(torch.zeros(2, 4, 40, 40, dtype=torch.float64))
    with pytest.raises(spec.SpecError, match="is too small for small"):
        backend.fused(model)(torch.zeros(2, 3, 4, 4, dtype=torch.float64))


def deeper_head(nn, model):
    model.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(model.classifier.in_features, 7), nn.Tanh())


def no_head(nn, model):
    model.classifier = nn.Identity()


def other_stem(nn, model):
    model.features.conv0 = nn.Conv2d(3, 6, 5, padding=1, stride=2)


def other_forward_of_a_convolution(nn, model):
    conv = model.features.conv0
    forward = conv.forward
    conv.forward = lambda x: forward(x).abs()


def dilation(nn, model):
    conv = model.features.denseblock2.denselayer1.conv2
    conv.dilation = conv.padding = (2, 2)


def other_activation(nn, model):
    model.features.denseblock1.denselayer1.relu2 = nn.ELU()


def other_norm(nn, model):
    model.features.denseblock1.denselayer2.norm1 = nn.GroupNorm(2, 10)


def norm_without_weights(nn, model):
    model.features.norm0 = nn.BatchNorm2d(6, affine=False)
    model.features.denseblock1.denselayer2.norm1 = nn.BatchNorm2d(10, affine=False)


def norm_without_statistics(nn, model):
    model.features.denseblock1.denselayer2.norm2 = nn.BatchNorm2d(8, track_running_stats=False)


def max_pool(nn, model):
    model.features.transition1.pool = nn.MaxPool2d(2)


def strided_transition(nn, model):
    model.features.transition1.conv = nn.Conv2d(14, 7, 1, stride=2)


def wide_bottleneck(nn, model):
    model.features.denseblock1.denselayer1.conv1 = nn.Conv2d(6, 8, 3, padding=1, groups=2)


def grouped_bottleneck(nn, model):
    model.features.denseblock1.denselayer2.conv1 = nn.Conv2d(10, 8, 1, groups=2)


def padded_bottleneck(nn, model):
    layer = model.features.denseblock1.denselayer2
    layer.conv1, layer.conv2 = nn.Conv2d(10, 8, 1, padding=1), nn.Conv2d(8, 4, 3)


def other_layer(nn, model):
    model.features.denseblock2.denselayer3 = nn.Conv2d(15, 19, 1)


def other_forward(nn, model):
    layer = model.features.transition1
    layer.forward = lambda x: layer.pool(layer.conv(layer.norm(layer.relu(x.clone()))))


def sequential_of_its_own(nn, model):
    class Twice(nn.Sequential):
        def forward(self, x):
            return super().forward(super().forward(x))

    model.features.add_module("twice", Twice(nn.Conv2d(19, 19, 1), nn.Sigmoid()))


CHANGES = [
    *(
        deeper_head,
        no_head,
        other_stem,
        other_forward_of_a_convolution,
        dilation,
        other_activation,
        other_norm,
        norm_without_weights,
    ),
    *(norm_without_statistics, max_pool, strided_transition, wide_bottleneck, grouped_bottleneck, padded_bottleneck),
    *(other_layer, other_forward, sequential_of_its_own),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_model_changed_by_hand_computes_the_same(backend, torch, model, change):
    change(torch.nn, model)
    model.double().eval()
    images = torch.from_numpy(noise(2, 3, 40, 40))
    with torch.inference_mode():
        assert difference(backend.fused(model)(images).numpy(), model(images).numpy()) < 1e-12


def wrong_epsilon(module):
    right = module.fold
    return "fold", lambda weight, bias, norm, eps: right(weight, bias, norm, eps * 1.001)


def channels_in_another_order(module):
    class Layer(module.FusedDenseLayer):
        def forward(self, x):
            return super().forward(x).flip(1)

    return "FusedDenseLayer", Layer


def pooled_before_the_relu(module):
    class Transition(module.FusedTransition):
        def forward(self, x):
            return self.conv(self.norm(self.pool(x)).relu_())

    return "FusedTransition", Transition


@pytest.mark.parametrize("plant", [wrong_epsilon, channels_in_another_order, pooled_before_the_relu])
def test_a_planted_fault_is_caught(module, monkeypatch, plant):
    monkeypatch.setattr(module, *plant(module))
    assert off("fused", NETWORK, NETWORK.input_shape, "float64") > 1e3 * OUTPUTS["float64"]
