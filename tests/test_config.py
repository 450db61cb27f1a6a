"""Configs: what is accepted, what follows from it, and what is refused in one sentence that names the field."""

import dataclasses
import json

import pydantic
import pytest

import spec
import spec.blocks
import spec.families
import spec.layers
from spec.families.resnet import ResNetConfig
from tests.cases import BASE, small, squeezed


def leaves(network: spec.Network) -> dict[str, object]:
    return dict(spec.walk(network.root))


def test_defaults_are_the_plain_densenet_with_the_imagenet_stem():
    nodes = leaves(spec.build(spec.DenseNetConfig(growth_rate=8, block_config=[1, 1])))
    assert nodes["features.conv0"] == spec.layers.Conv(3, 16, kernel_size=7, stride=2, padding=3, bias=False)
    assert nodes["features.norm0"] == spec.layers.BatchNorm(16, eps=1e-5, decay=0.9)
    assert nodes["features.denseblock1.denselayer1.conv1"].kernel_size == 3
    assert nodes["features.transition1.conv"].out_channels == 24
    assert nodes["classifier"].out_features == 1000


def test_what_all_networks_have_is_as_published():
    """For ImageNet: 224 pixels, three channels, a thousand classes; batch norms as in torchvision."""
    for config in (spec.DenseNetConfig(growth_rate=8, block_config=[1]), ResNetConfig(block_config=[1])):
        assert (config.in_channels, config.num_classes, config.input_size) == (3, 1000, 224)
        assert (config.eps, config.decay, config.classifier_activation) == (1e-5, 0.9, None)


def test_a_family_without_nodes_cannot_be_made():
    with pytest.raises(TypeError, match=r"abstract method '?nodes"):
        spec.NetworkConfig(family="none")


def test_bottleneck_and_compression():
    nodes = leaves(spec.build(spec.DenseNetConfig(growth_rate=8, block_config=[1, 1], bn_size=4, compression=0.5)))
    assert nodes["features.denseblock1.denselayer1.conv1"] == spec.layers.Conv(
        16, 32, kernel_size=1, stride=1, padding=0, bias=False
    )
    assert nodes["features.denseblock1.denselayer1.conv2"] == spec.layers.Conv(
        32, 8, kernel_size=3, stride=1, padding=1, bias=False
    )
    assert nodes["features.transition1.conv"].out_channels == 12


@pytest.mark.parametrize(
    ("compression", "channels", "expected"), [(0.29, 100, 29), (0.7, 10, 7), (0.5, 7, 3), (1, 9, 9), (1e-1, 19, 1)]
)
def test_compression_rounds_down_exactly(compression, channels, expected):
    """floor(theta * m) of the paper; in floats 0.29 * 100 is 28.999999999999996."""
    network = small(growth_rate=1, block_config=[1, 1], stem={"channels": channels - 1}, compression=compression)
    assert leaves(network)["features.transition1.conv"].out_channels == expected


@pytest.mark.parametrize(
    ("placement", "names"),
    [
        ("layer", ["denseblock1.denselayer1.se", "denseblock1.denselayer2.se"]),
        ("block", ["se_denseblock1", "se_denseblock2"]),
        ("transition", ["se_transition1"]),
        ("final", ["se"]),
    ],
)
def test_squeeze_excitation_goes_where_it_is_placed(placement, names):
    nodes = leaves(small(**squeezed(placement)))
    found = [path for path, node in nodes.items() if isinstance(node, spec.blocks.SqueezeExcitation)]
    assert [f"features.{name}" for name in names] == [path for path in found if "denseblock2." not in path]
    assert list(nodes).index(found[-1]) < list(nodes).index("features.norm5")


def test_hidden_channels_are_rounded_down():
    node = leaves(small(growth_rate=7, **squeezed("layer", ratio=3)))["features.denseblock1.denselayer1.se"]
    assert (node.channels, node.hidden_channels) == (7, 2)


def test_one_placement_may_be_a_single_word():
    assert spec.SqueezeExcitationConfig(placement="block").placement == ("block",)


def test_a_config_is_frozen():
    config = spec.DenseNetConfig(**BASE)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.growth_rate = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.build(config).name = "other"


def test_the_schema_describes_every_field():
    for family, config in spec.families.FAMILIES.items():
        schema = spec.schema(family)
        assert set(schema["properties"]) == {*config.model_fields, "extends"}
        assert all("description" in field for field in schema["properties"].values())
        assert schema["properties"]["family"]["const"] == family
        assert all(spec.variant_config(name).family == family for name in schema["properties"]["extends"]["enum"])
        json.dumps(schema)
    with pytest.raises(spec.SpecError, match="family: unknown 'vgg16', did you mean 'vgg'"):
        spec.schema("vgg16")


REFUSED = [
    ({"drop_rate": 0.1}, "drop_rate: unknown field, did you mean 'growth_rate' or 'dropout'?"),
    ({"stem": {"chanels": 6}}, "stem.chanels: unknown field, did you mean 'channels'?"),
    ({"stem": 64}, "stem: should be a table of fields, found 64"),
    ({"stem": {"padding": 7}}, "stem.padding must be smaller than stem.kernel_size (7), found 7"),
    ({"stem": {"padding": -1}}, "stem.padding: should be greater than or equal to 0, found -1"),
    ({"compression": 0}, "compression: should be greater than 0, found 0"),
    ({"compression": 1.01}, "compression: should be less than or equal to 1, found 1.01"),
    ({"compression": "half"}, "compression: should be a valid number, found 'half'"),
    ({"growth_rate": 0}, "growth_rate: should be greater than 0, found 0"),
    ({"growth_rate": 4.5}, "growth_rate: should be a valid integer, found 4.5"),
    ({"growth_rate": True}, "growth_rate: should be a valid integer, found True"),
    ({"growth_rate": "12"}, "growth_rate: should be a valid integer, found '12'"),
    ({"bn_size": 0}, "bn_size: should be greater than 0, found 0"),
    ({"block_config": []}, "block_config: the list should have 1 or more entries, found []"),
    ({"block_config": [6, 0]}, "block_config.1: should be greater than 0, found 0"),
    ({"block_config": 6}, "block_config: should be a list, found 6"),
    ({"num_classes": 0}, "num_classes: should be greater than 0, found 0"),
    ({"in_channels": -3}, "in_channels: should be greater than 0, found -3"),
    ({"dropout": 1}, "dropout: should be less than 1, found 1"),
    ({"eps": 0}, "eps: should be greater than 0, found 0"),
    ({"eps": float("nan")}, "eps: should be a finite number, found nan"),
    ({"decay": 1}, "decay: should be less than 1, found 1"),
    ({"classifier_activation": "relu"}, "classifier_activation: should be 'softmax' or 'sigmoid', found 'relu'"),
    ({"input_size": 4}, "input_size 4 is too small for small: the smallest that works is 5"),
    (squeezed("middle"), "squeeze_excitation.placement.0: should be 'layer', 'block', 'transition' or 'final'"),
    (squeezed(), "squeeze_excitation.placement: the list should have 1 or more entries, found []"),
    (squeezed("layer", ratio=16), "squeeze_excitation.ratio 16 leaves no hidden channel at placement 'layer'"),
    ({"compression": 0.05}, "compression 0.05 leaves none of 14 channels: raise it"),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED, ids=[sentence[:40] for _, sentence in REFUSED])
def test_what_cannot_be_built_is_refused_in_one_sentence(fields, sentence):
    with pytest.raises(spec.SpecError) as error:
        small(**fields)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["growth_rate", "block_config"])
def test_a_missing_field_is_named_and_explained(field):
    fields = {name: value for name, value in BASE.items() if name != field}
    with pytest.raises(spec.SpecError, match=f"^{field}: missing, expected the "):
        spec.DenseNetConfig(**fields)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_the_smallest_size_of_a_bare_stem_is_what_the_transitions_need(size):
    stem = {"kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}
    network = small(stem=stem, block_config=[1] * (size.bit_length()), input_size=64)
    assert network.min_size == 2 ** (size.bit_length() - 1)
    assert isinstance(network.min_size, int)


CLASSIC = [
    ("lenet", {"input_size": 12}, "input_size 12 is too small for lenet: no pixel would be left"),
    ("lenet", {"norm": True}, "lenet: norm: unknown field, known: family, in_channels, "),
    ("alexnet", {"dropout": 1.0}, "alexnet: dropout: should be less than 1, found 1.0"),
    ("vgg16", {"block_config": [1, 1, 1, 1, 1, 1]}, "vgg16: block_config: the list should have 5 or fewer entries"),
    ("nin", {"input_size": 40}, "input_size 40 is too small for nin: the smallest that works is 67"),
    (
        "resnet18",
        {"squeeze_excitation": {"placement": "layer"}},
        "resnet18: squeeze_excitation.placement 'layer' does not exist here: use 'block' or 'final'",
    ),
    (
        "se_googlenet",
        {"squeeze_excitation": {"ratio": 300}},
        "squeeze_excitation.ratio 300 leaves no hidden channel at placement 'block', where there are 256",
    ),
    ("resnet18", {"family": "rasnet"}, "resnet18: family: unknown 'rasnet', did you mean 'resnet'"),
]


@pytest.mark.parametrize(("name", "fields", "sentence"), CLASSIC)
def test_classic_networks_that_cannot_be_built_are_refused(name, fields, sentence):
    with pytest.raises(spec.SpecError) as error:
        spec.variant(name, **fields)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_a_flattening_network_says_which_sizes_fit():
    """LeNet's pools round down: 32 to 35 pixels give the same 5x5 map."""
    lenet = spec.variant("lenet")
    assert (lenet.min_size, lenet.max_size) == (32, 35)
    lenet.check_input_shape((1, 33, 35))
    with pytest.raises(spec.SpecError, match="1x31x32 is too small for lenet: the smallest that works is 1x32x32"):
        lenet.check_input_shape((1, 31, 32))
    with pytest.raises(
        spec.SpecError, match=r"1x32x36 is too large for lenet, whose .* 1x32x32: .* is 1x35x35; resize"
    ):
        lenet.check_input_shape((1, 32, 36))
    assert spec.variant("resnet18").max_size is None
    assert spec.parameter_shapes(spec.variant("lenet", input_size=36))["classifier.fc1.weight"] == (120, 16 * 36)


@pytest.mark.parametrize(("name", "field"), [("se_resnet18", "layer1.0.se"), ("se_googlenet", "se_inception3a")])
def test_squeeze_excitation_of_classic_networks(name, field):
    nodes = leaves(spec.variant(name))
    assert isinstance(nodes[field], spec.blocks.SqueezeExcitation)
    final = leaves(spec.variant(name, squeeze_excitation={"placement": ["final"]}))
    assert field not in final
    assert final["se"].hidden_channels == final["se"].channels // 16
