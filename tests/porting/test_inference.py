"""Which network weights are of, told from names and shapes alone: every variant, any DenseNet, and no stranger."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import spec
from spec.inference import infer, variant_of
from spec.shapes import Shapes
from tests.cases import SMALL, small

STEM = {"kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
CLASSES, CHANNELS = 7, 2  # of no variant
SEEN = ("num_classes", "in_channels", "block_config", "conv_bias", "projection_norm", "norm")


def shapes_of(config: spec.NetworkConfig) -> Shapes:
    return spec.parameter_shapes(spec.build(config))


@pytest.mark.parametrize("name", spec.names())
def test_a_variant_is_told_from_its_shapes(name):
    assert infer(shapes_of(spec.variant_config(name))) == spec.variant_config(name)


@pytest.mark.parametrize("name", spec.names())
def test_a_variant_is_told_with_other_classes_and_channels(name):
    config = spec.variant_config(name, num_classes=CLASSES, in_channels=CHANNELS)
    assert infer(shapes_of(config)) == config
    assert variant_of(config) == name


@pytest.mark.parametrize("changes", [{"eps": 1e-3}, {"dropout": 0.5}, {"decay": 0.5}, {"input_size": 64}], ids=str)
def test_numbers_that_no_shape_shows_make_no_other_variant(changes):
    assert variant_of(spec.variant_config("densenet121", **changes)) == "densenet121"


@pytest.mark.parametrize("changes", [{"growth_rate": 31}, {"conv_bias": True}, {"stem": {"stride": 1}}], ids=str)
def test_other_layers_make_no_variant(changes):
    assert variant_of(spec.variant_config("densenet121", **changes)) is None


def test_a_wide_stem_of_twice_the_growth_rate_is_the_default_one():
    """Of numbers that Python has no object for all of its own."""
    config = spec.DenseNetConfig(growth_rate=200, block_config=[1], num_classes=2)
    assert infer(shapes_of(config)) == config


@st.composite
def densenets(draw) -> spec.NetworkConfig:
    """Small DenseNets with every option; those that cannot be built are drawn again."""
    fields: dict[str, Any] = {
        "growth_rate": draw(st.integers(1, 12)),
        "block_config": draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)),
        "bn_size": draw(st.none() | st.integers(1, 4)),
        "compression": draw(st.sampled_from([1.0, 0.5]) | st.floats(0.2, 1)),
        "conv_bias": draw(st.booleans()),
        "in_channels": draw(st.integers(1, 4)),
        "num_classes": draw(st.integers(1, 9)),
    }
    width, norm = draw(st.none() | st.integers(1, 30)), draw(st.booleans())
    if draw(st.booleans()):
        fields |= {"stem": {"channels": width, "norm": norm}}
    else:
        size = draw(st.sampled_from([1, 3, 5]))
        windows = {"kernel_size": size, "stride": 1, "padding": size // 2, "pool": False}
        fields |= {"stem": windows | {"channels": width, "norm": norm}, "input_size": 32}
    if draw(st.booleans()):
        placements = st.lists(st.sampled_from(["layer", "block", "transition", "final"]), min_size=1, unique=True)
        gates = {"ratio": draw(st.integers(1, 6)), "placement": draw(placements), "bias": draw(st.booleans())}
        fields |= {"squeeze_excitation": gates}
    return spec.DenseNetConfig(**fields)


def drawn() -> st.SearchStrategy:
    def builds(config: spec.NetworkConfig) -> bool:
        try:
            spec.build(config)
        except spec.SpecError:
            return False
        return True

    return densenets().filter(builds)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(config=drawn())
def test_any_densenet_comes_back_with_the_same_parameters(config):
    found = infer(shapes_of(config))
    assert shapes_of(found) == shapes_of(config)
    shown = ("growth_rate", "block_config", "bn_size", "conv_bias", "in_channels", "num_classes", "input_size")
    assert {name: getattr(found, name) for name in shown} == {name: getattr(config, name) for name in shown}
    # A width of 2k may be written as none; the share of a transition by any number that rounds alike.
    assert (found.stem.channels or 2 * found.growth_rate) == (config.stem.channels or 2 * config.growth_rate)
    assert found.stem.model_copy(update={"channels": 0}) == config.stem.model_copy(update={"channels": 0})
    gates = config.squeeze_excitation
    if gates is not None and (gates.placement != ("transition",) or len(config.block_config) > 1):
        assert found.squeeze_excitation.bias == gates.bias
        visible = set(gates.placement) - ({"transition"} if len(config.block_config) == 1 else set())
        assert set(found.squeeze_excitation.placement) == visible


@pytest.mark.parametrize("compression", [0.5, 0.3, 0.75, 0.9, 1.0])
def test_the_shortest_share_that_fits_is_taken(compression):
    network = small(bn_size=4, growth_rate=16, block_config=[6, 12, 8], compression=compression)
    assert infer(spec.parameter_shapes(network)).compression == compression


@pytest.mark.parametrize("name", [name for name, network in SMALL.items() if network.config is not None])
def test_every_small_network_of_the_tests_comes_back_with_the_same_parameters(name):
    shapes = spec.parameter_shapes(SMALL[name])
    assert shapes_of(infer(shapes)) == shapes


def test_the_order_of_the_tensors_does_not_matter():
    config = spec.variant_config("se_densenet121")
    assert infer(dict(reversed(shapes_of(config).items()))) == config


RESNETS = {
    "torchvision's": {"conv_bias": False, "projection_norm": True},
    "of three stages": {"block_config": [1, 2, 1]},
    "of four blocks a stage, with gates": {
        "block_config": [4, 1],
        "squeeze_excitation": {"placement": ["block", "final"], "ratio": 8, "bias": False},
    },
}


@pytest.mark.parametrize("case", RESNETS)
def test_resnets_that_are_no_variant_come_back(case):
    config = spec.variant_config("resnet18", **RESNETS[case])
    assert infer(shapes_of(config)) == config


def test_lenet_shows_its_size():
    assert infer(shapes_of(spec.variant_config("lenet", input_size=28))).input_size == 28


# What others' networks have, in their names: torchvision's, as its documentation and state dicts show them.
FOREIGN: dict[str, tuple[Shapes, str]] = {
    "torchvision's AlexNet": (
        {
            "features.0.weight": (64, 3, 11, 11),
            "features.3.weight": (192, 64, 5, 5),
            "classifier.1.weight": (4096, 9216),
        },
        "torchvision's AlexNet is the one of Krizhevsky 2014, with 64 channels in its first convolution",
    ),
    "torchvision's GoogLeNet": (
        {"conv1.conv.weight": (64, 3, 7, 7), "inception3a.branch1.conv.weight": (64, 192, 1, 1)},
        "torchvision's GoogLeNet has a batch norm after each convolution, the spec's has none",
    ),
    "ResNet-50": (
        {
            "conv1.weight": (64, 3, 7, 7),
            "layer1.0.conv1.weight": (64, 64, 1, 1),
            "layer1.0.conv3.weight": (256, 64, 1, 1),
            "layer2.0.downsample.1.weight": (512,),
            "fc.weight": (1000, 2048),
        },
        "it is a ResNet of bottleneck blocks, the spec's is of basic ones: ResNet-18 and ResNet-34",
    ),
    "VGG-11 with batch norm": (
        {
            **{f"features.{i}.weight": (64, 3, 3, 3) for i in (0, 4, 8, 11, 15, 18, 22, 25)},
            **{f"features.{i}.running_mean": (64,) for i in (1, 5, 9, 12, 16, 19, 23, 26)},
            **{f"features.{i}.weight": (64,) for i in (1, 5, 9, 12, 16, 19, 23, 26)},
            "classifier.0.weight": (4096, 25088),
            "classifier.3.weight": (4096, 4096),
            "classifier.6.weight": (1000, 4096),
        },
        "it is a VGG with batch norms, the spec's VGG has none",
    ),
    "a SqueezeNet": (
        {"features.3.squeeze.weight": (16, 64, 1, 1), "classifier.1.weight": (1000, 512, 1, 1)},
        "no network of the spec has these weights",
    ),
    "nothing": ({}, "no network of the spec has these weights: their names begin with none"),
    "a transformer": (
        {"encoder.layer.0.attention.weight": (8, 8)},
        "their names begin with encoder.layer.0.attention.weight",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_network_that_the_spec_does_not_have_is_refused_by_name(case):
    shapes, sentence = FOREIGN[case]
    with pytest.raises(spec.SpecError) as error:
        infer(shapes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


SHAPES = spec.parameter_shapes(small(bn_size=2, block_config=[2, 2, 2], compression=0.5, stem=STEM, input_size=32))
FIRST = "features.denseblock1.denselayer1"


def without(name: str) -> Shapes:
    return {other: shape for other, shape in SHAPES.items() if other != name}


DAMAGED: dict[str, tuple[Shapes, str]] = {
    "transitions of different shares": (
        SHAPES
        | {"features.transition1.conv.weight": (8, 16, 1, 1), "features.transition2.conv.weight": (12, 16, 1, 1)},
        "its transitions keep different shares of their channels, which one compression cannot say",
    ),
    "a transition that adds channels": (
        SHAPES | {f"features.transition{i}.conv.weight": (32, 16, 1, 1) for i in (1, 2)},
        "compression: should be less than or equal to 1, found 2.0",
    ),
    "no classifier": (without("classifier.weight"), "need a tensor classifier.weight, found none"),
    "no stem": (without("features.conv0.weight"), "need a tensor features.conv0.weight, found none"),
    "a norm without its bias": (
        without("features.norm5.bias"),
        "features.norm5.bias would be of shape (16,), found none",
    ),
    "one more tensor": (SHAPES | {"extra": (1,)}, "extra would be none, found of shape (1,)"),
    "another width": (
        SHAPES | {"features.norm5.weight": (9,)},
        "features.norm5.weight would be of shape (16,), found of shape (9,)",
    ),
    "a missing block": (
        {name.replace("denseblock2", "denseblock4"): shape for name, shape in SHAPES.items()},
        "the weights of a densenet need a tensor features.transition3.conv.weight, found none",
    ),
    "a block of no layers": (
        {name.replace("denseblock2", "denseblock3"): shape for name, shape in SHAPES.items()},
        "names or shapes that no layer has",
    ),
    "a stem of two dimensions": (SHAPES | {"features.conv0.weight": (8, 3)}, "names or shapes that no layer has"),
    "a classifier of none": (SHAPES | {"classifier.weight": ()}, "names or shapes that no layer has"),
    "no new channels": (SHAPES | {f"{FIRST}.conv2.weight": (0, 8, 3, 3)}, "names or shapes that no layer has"),
    "a gate of no channels": (SHAPES | {"features.se.fc1.weight": (0, 16)}, "names or shapes that no layer has"),
    "a number of endless digits": (
        SHAPES | {f"features.denseblock{'9' * 5000}.denselayer1.norm1.weight": (4,)},
        "names or shapes that no layer has",
    ),
    "a billion blocks": (
        SHAPES | {"features.denseblock999999999.denselayer1.norm1.weight": (4,)},
        "need a tensor features.transition3.conv.weight, found none",
    ),
    "a billion layers": (
        SHAPES | {"features.denseblock3.denselayer999999999.norm1.weight": (4,)},
        "block_config: should have at most 10000 layers in all",
    ),
    "a billion channels": (
        {name: tuple(10**12 if n > 3 else n for n in shape) for name, shape in SHAPES.items()},
        "should be",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_weights_that_are_of_no_network_are_refused_in_a_sentence(case):
    shapes, sentence = DAMAGED[case]
    with pytest.raises(spec.SpecError) as error:
        infer(shapes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
