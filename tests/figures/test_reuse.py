"""The feature-reuse map of weights whose map is known."""

from collections.abc import Callable

import numpy as np
import pytest

import spec
from densenet_tools import reuse
from densenet_tools.reuse import feature_reuse
from spec.blocks import DenseBlock, DenseLayer
from spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from tests.cases import small, squeezed

C, K = 6, 4  # channels of the stem; the growth rate


def network(**fields) -> spec.Network:
    """Blocks of two and three layers; every convolution has an even number of filters."""
    return small(**{"num_classes": 8} | fields)


def built(network: spec.Network, before: dict[str, int]) -> spec.Weights:
    """Weights of which target t reads source s with a mean absolute value of 10 * t + s, in signs and sizes that vary.

    `before` has the number of channels before each block. Everything else is 1000.
    """
    weights = {name: np.full(shape, 1000.0) for name, shape in spec.parameter_shapes(network).items()}
    for block, last in (("1", "features.transition1.conv.weight"), ("2", "classifier.weight")):
        layers = [name for name in weights if f"denseblock{block}." in name and name.endswith("conv1.weight")]
        for target, name in enumerate([*layers, last], start=1):
            shape = weights[name].shape
            sources = [0 if i < before[block] else 1 + (i - before[block]) // K for i in range(shape[1])]
            value = np.array([10 * target + source for source in sources], float)
            size = np.where(np.arange(shape[0]) % 2, 1.5, 0.5)
            sign = np.random.default_rng(target).choice([-1, 1], shape)
            weights[name] = sign * np.multiply.outer(size, value).reshape(*shape[:2], *[1] * (len(shape) - 2))
    return weights


def expected(layers: int) -> np.ndarray:
    """(sources, targets): the targets are counted from 1, and read the sources before them."""
    return np.array(
        [[10 * t + s if s < t else np.nan for t in range(1, layers + 2)] for s in range(layers + 1)], dtype=float
    )


CASES = {
    "plain": (network(), C + 2 * K),
    "bottleneck": (network(bn_size=2), C + 2 * K),
    "compressed": (network(bn_size=4, compression=0.3), 4),  # floor(0.3 * 14)
    "biased": (network(conv_bias=True), C + 2 * K),
    "dropout": (network(dropout=0.2), C + 2 * K),
    "gates everywhere": (network(bn_size=4, **squeezed("layer", "block", "transition", "final")), C + 2 * K),
    "softmax": (network(classifier_activation="softmax"), C + 2 * K),
    "bare stem": (
        network(
            stem={"channels": C, "kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False},
            input_size=8,
        ),
        C + 2 * K,
    ),
}


def check(network: spec.Network, between: int) -> None:
    first, second = feature_reuse(network, built(network, {"1": C, "2": between}))
    assert first.name == "features.denseblock1"
    assert first.sources == ("input", "denselayer1", "denselayer2")
    assert first.targets == ("denselayer1", "denselayer2", "transition1")
    assert second.targets == ("denselayer1", "denselayer2", "denselayer3", "classifier")
    np.testing.assert_allclose(first.values, expected(2), rtol=1e-12)
    np.testing.assert_allclose(second.values, expected(3), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_map_of_hand_built_weights_is_the_one_they_were_built_for(case):
    check(*CASES[case])


BROKEN: dict[str, Callable] = {
    "swapped concatenation": lambda right, weight, widths: right(weight[:, ::-1], widths),
    "shifted by a channel": lambda right, weight, widths: right(np.roll(weight, 1, axis=1), widths),
    "sources from last to first": lambda right, weight, widths: right(weight, widths)[::-1],
    "a layer's channels first": lambda right, weight, widths: right(weight, [*widths[1:], widths[0]]),
    "signs kept": lambda right, weight, widths: abs(
        np.array([part.mean() for part in np.split(weight, np.cumsum(widths)[:-1], axis=1)])
    ),
    "sums": lambda right, weight, widths: right(weight, widths) * widths,
    "squares": lambda right, weight, widths: np.sqrt(right(weight**2, widths)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_another_assignment_or_mean_is_noticed(how, monkeypatch):
    """The control of the test before."""
    right = reuse._strengths
    monkeypatch.setattr(reuse, "_strengths", lambda weight, widths: BROKEN[how](right, weight, widths))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(*CASES["plain"])


def test_targets_and_sources_that_changed_places_are_noticed():
    """expected() itself is no symmetric matrix."""
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(expected(2).T, expected(2))


def test_values_are_rescaled_by_the_largest_of_each_block():
    network, between = CASES["plain"]
    first, second = feature_reuse(network, built(network, {"1": C, "2": between}))
    np.testing.assert_allclose(first.rescaled, expected(2) / 32, rtol=1e-12)
    np.testing.assert_allclose(second.rescaled, expected(3) / 43, rtol=1e-12)


def test_weights_of_zero_stay_zero():
    zeros = {name: np.zeros(shape) for name, shape in spec.parameter_shapes(network()).items()}
    for block in feature_reuse(network(), zeros):
        assert np.nanmax(block.rescaled) == 0
        assert (np.isnan(block.rescaled) == np.isnan(block.values)).all()


def layer(in_channels: int, growth_rate: int) -> DenseLayer:
    return DenseLayer(
        in_channels,
        growth_rate,
        bn_size=None,
        bias=False,
        dropout=0.0,
        squeeze_excitation=None,
        eps=1e-5,
        decay=0.9,
    )


def test_networks_made_by_hand_are_read_as_they_run():
    """Layers of different widths; a max pool and a convolution behind a block; maps flattened as they are."""
    one = DenseBlock((layer(3, 1), layer(4, 2)))
    two = DenseBlock((layer(2, 3),))
    nodes = (
        ("body", spec.Sequential((("one", one), ("pool", MaxPool(kernel_size=2, stride=2, padding=0))))),
        ("conv", Conv(6, 2, kernel_size=1, stride=1, padding=0, bias=False)),
        ("two", two),
        ("flatten", Flatten()),
        ("fc", Linear(5 * 4, 2, bias=False)),
    )
    network = spec.Network("mine", spec.Sequential(nodes), (3, 4, 4), num_classes=2)
    weights = {name: np.ones(shape) for name, shape in spec.parameter_shapes(network).items()}
    weights["conv.weight"] *= np.array([1, 1, 1, 2, 3, 5])[:, None, None]
    weights["fc.weight"] *= np.repeat([1, 3, 4, 5, 6], 4)
    first, second = feature_reuse(network, weights)
    assert (first.name, first.targets) == ("body.one", ("denselayer1", "denselayer2", "conv"))
    assert first.values[:, 2].tolist() == [1, 2, 4]
    assert (second.name, second.targets) == ("two", ("denselayer1", "fc"))
    assert second.values[:, 1].tolist() == [2, 5]


def test_a_block_that_no_single_layer_reads_has_its_layers_alone():
    headless = small().headless
    weights = spec.initialize(headless, 0)
    assert [block.targets[-1] for block in feature_reuse(headless, weights)] == ["transition1", "denselayer3"]
    nodes = (("one", DenseBlock((layer(3, 1),))), ("two", DenseBlock((layer(4, 1),))), ("relu", ReLU()))
    head = (("pool", GlobalAvgPool()), ("flatten", Flatten()))
    network = spec.Network("mine", spec.Sequential(nodes + head), (3, 4, 4), num_classes=5)
    assert [block.targets for block in feature_reuse(network, spec.initialize(network, 0))] == [("denselayer1",)] * 2


def refusal(network: spec.Network, weights: spec.Weights) -> str:
    with pytest.raises(spec.SpecError) as error:
        feature_reuse(network, weights)
    return str(error.value)


def test_what_has_no_dense_block_is_refused():
    lenet = spec.variant("lenet")
    assert refusal(lenet, spec.initialize(lenet, 0)) == (
        "lenet has no dense block: the map of feature reuse is that of a DenseNet"
    )


def test_weights_of_another_network_are_refused():
    weights = spec.initialize(small(), 0)
    assert refusal(small(growth_rate=8), weights).startswith(
        "weights do not fit, nothing was loaded: features.denseblock1.denselayer1.conv1.weight has shape (4, 6, 3, 3)"
    )
    assert "has values that are not finite" in refusal(small(), weights | {"classifier.bias": np.full(5, np.nan, "f4")})
    assert refusal(small(), None) == "weights must be a mapping of names to arrays, found NoneType"
