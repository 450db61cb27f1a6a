"""Variants by name, overrides, and config files that work wherever a name does."""

import json
import tomllib

import pytest

import spec
import spec.layers


def test_the_variants_are_these():
    assert spec.names() == [
        *(f"densenet{depth}" for depth in (121, 169, 201, 161, 264)),
        *("densenet40_k12", "densenet100_k12", "densenet100_k24"),
        *("densenet100_k12_bc", "densenet190_k40_bc", "densenet250_k24_bc"),
        *(f"densenet40_k{k}_bc" for k in (12, 24, 36, 48, 60)),
        "densenet_d2l",
        *(f"se_densenet{depth}" for depth in (121, 161, 169, 201)),
        *("lenet", "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "nin", "googlenet"),
        *("resnet18", "resnet34", "se_resnet18", "se_googlenet"),
    ]


DENSENETS = [name for name in spec.names() if "densenet" in name and name != "densenet_d2l"]


@pytest.mark.parametrize("name", DENSENETS)
def test_depth_is_what_the_name_says(name):
    """Counted as in the paper: every convolution and the classifier, squeeze-and-excitation left out.

    By that count the paper's DenseNet-264 has 265 layers (table 1: 6, 12, 64 and 48 dense layers of two each).
    """
    config = spec.variant_config(name)
    layers = sum(config.block_config) * (1 if config.bn_size is None else 2)
    depth = int(name.removeprefix("se_").removeprefix("densenet").split("_")[0])
    assert 1 + layers + len(config.block_config) - 1 + 1 == (265 if depth == 264 else depth)


@pytest.mark.parametrize(
    ("overrides", "parameter", "shape"),
    [
        ({"in_channels": 1}, "features.conv0.weight", (64, 1, 7, 7)),
        ({"num_classes": 10}, "classifier.weight", (10, 1024)),
        ({"growth_rate": 16}, "features.conv0.weight", (32, 3, 7, 7)),
        ({"block_config": [2, 2]}, "classifier.weight", (10 * 100, 128)),
        ({"bn_size": 2}, "features.denseblock1.denselayer1.conv1.weight", (64, 64, 1, 1)),
        ({"bn_size": None}, "features.denseblock1.denselayer1.conv1.weight", (32, 64, 3, 3)),
        ({"compression": 0.25}, "features.transition1.conv.weight", (64, 256, 1, 1)),
        ({"stem": {"channels": 48}}, "features.conv0.weight", (48, 3, 7, 7)),
        ({"squeeze_excitation": {"ratio": 4}}, "features.se.fc1.weight", (256, 1024)),
        (
            {"squeeze_excitation": {"placement": "layer"}},
            "features.denseblock1.denselayer1.se.fc2.weight",
            (32, 2),
        ),
    ],
)
def test_overrides(overrides, parameter, shape):
    assert spec.parameter_shapes(spec.variant("densenet121", **overrides))[parameter] == shape


def test_an_override_of_a_table_changes_only_the_fields_it_names():
    assert spec.variant_config("densenet_d2l", stem={"padding": 1}).stem == spec.Stem(padding=1)
    config = spec.variant_config("se_densenet121", squeeze_excitation={"ratio": 8})
    assert config.squeeze_excitation.placement == ("final",)
    assert spec.variant_config("se_densenet121", squeeze_excitation=None) == spec.variant_config("densenet121")


def test_eps_and_dropout_reach_every_layer():
    nodes = [node for _, node in spec.walk(spec.variant("densenet121", eps=1e-3, dropout=0.2).root)]
    assert {node.eps for node in nodes if isinstance(node, spec.layers.BatchNorm)} == {1e-3}
    assert sum(isinstance(node, spec.layers.Dropout) for node in nodes) == 58


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("densenet12", "unknown variant 'densenet12': did you mean 'densenet121'"),
        ("DenseNet121", "unknown variant 'DenseNet121': did you mean 'densenet121'"),
        ("vgg", "unknown variant 'vgg': did you mean 'vgg"),
        ("mobilenet", "unknown variant 'mobilenet': did you mean 'lenet' or 'googlenet'"),
        ("transformer", "unknown variant 'transformer': known: densenet121, "),
        ("", "unknown variant '': known: densenet121, "),
    ],
)
def test_an_unknown_variant_is_refused_with_the_nearest_names(name, sentence):
    for call in (spec.variant, spec.load, spec.published):
        with pytest.raises(spec.SpecError) as error:
            call(name)
        assert str(error.value).startswith(sentence)


TOML = """
extends = "densenet40_k12_bc"
growth_rate = 6
squeeze_excitation = { ratio = 2, placement = ["layer"] }

[stem]
channels = 10
"""


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_config_file_works_where_a_name_does(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_text(TOML if suffix == ".toml" else json.dumps(tomllib.loads(TOML)))
    network = spec.load(path, num_classes=3)
    assert network.name == "mine"
    assert spec.load(str(path), num_classes=3) == network
    shapes = spec.parameter_shapes(network)
    assert shapes["features.conv0.weight"] == (10, 3, 3, 3)
    assert shapes["features.denseblock1.denselayer1.se.fc1.weight"] == (3, 6)
    assert shapes["classifier.bias"] == (3,)


def test_a_config_survives_its_own_json(tmp_path):
    for name in spec.names():
        path = tmp_path / f"{name}.json"
        path.write_text(spec.variant_config(name).model_dump_json())
        assert spec.load(path) == spec.variant(name)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("a.toml", "growth_rate = ", "is not valid TOML"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", "[1]", "must hold a table of fields, found a list"),
        ("a.toml", "growth_rate = 4", "block_config: missing"),
        ("a.toml", 'extends = "densenet99"', "extends: unknown variant 'densenet99'"),
        ("a.toml", "extends = 3", "extends: unknown variant 3"),
        ("a.toml", "growth_rate = 4\nblock_config = [1]\nwidth = 3", "width: unknown field"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path, file, text, sentence):
    path = tmp_path / file
    path.write_text(text)
    with pytest.raises(spec.SpecError) as error:
        spec.load(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_of_another_kind_is_not_taken_for_a_variant(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(spec.SpecError, match=r"found '.*model\.keras': for weights, densenet port"):
        spec.load(tmp_path / "model.keras")


def test_a_variant_is_meant_where_a_file_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "densenet_d2l").write_bytes(b"")
    assert spec.load("densenet_d2l") == spec.variant("densenet_d2l")


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(spec.SpecError, match=r"nothing\.toml cannot be read: No such file"):
        spec.load(tmp_path / "nothing.toml")


def test_the_table_is_parsed_once(monkeypatch):
    names = spec.names()
    monkeypatch.setattr(tomllib, "loads", None)
    assert spec.names() == names
    assert spec.variant("densenet121").name == "densenet121"
