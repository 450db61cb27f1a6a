"""The neutral file: one .safetensors that rebuilds its network with its weights, whole or not at all."""

import hashlib
import json
import os
import re
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import spec
from densenet_tools import porting
from densenet_tools.commands.app import main
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference
from tests.cases import CLASSIC
from tests.porting.support import (
    FIELDS,
    NETWORK,
    entries_of,
    header_of,
    images_of,
    listing,
    logits,
    safetensors,
    same,
    tiny,
    weights_of,
    with_metadata,
)
from tests.support import FRAMEWORKS, chosen, require

WEIGHTS = weights_of()
SHALLOW = {"growth_rate": 4, "block_config": [1, 1]}
CLASSES = ("cat", "dog", "Überfuchs", "a/b", "4")
PREPROCESSING = spec.Preprocessing(size=32, resize=36, channel_order="BGR", mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.25))


@pytest.fixture
def path(tmp_path):
    """A neutral file of the tiny network."""
    spec.save(tmp_path / "x.safetensors", NETWORK, WEIGHTS, PREPROCESSING, {"source": "a test"}, CLASSES)
    return tmp_path / "x.safetensors"


def plain(path, weights=WEIGHTS, **more: np.ndarray):
    save_file({**weights, **more}, path)
    return path


FIELDS_OF_ALL_KINDS = {
    "eps": 1.001e-5,
    "decay": 0.25,
    "dropout": 0.125,
    "input_size": 48,
    "in_channels": 1,
    "classifier_activation": "softmax",
    "squeeze_excitation": {"ratio": 2, "placement": ["layer", "final"], "bias": False},
}


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_everything_comes_back(self, tmp_path, dtype):
        weights = weights_of(dtype=dtype)
        spec.save(tmp_path / "x.safetensors", NETWORK, weights, PREPROCESSING, {"source": "a test"}, list(CLASSES))
        found = spec.open(tmp_path / "x.safetensors")
        assert found.classes == CLASSES
        assert same(found.weights, weights)
        assert found.dtype == np.dtype(dtype).name
        assert found.network == NETWORK
        assert found.network.config == NETWORK.config
        assert found.preprocessing == PREPROCESSING
        assert found.provenance["source"] == "a test"
        assert found.provenance["tool"].startswith("densenet-reference ")

    @pytest.mark.parametrize("field", FIELDS_OF_ALL_KINDS)
    def test_fields_that_no_shape_shows_come_back(self, tmp_path, field):
        network = tiny(**{field: FIELDS_OF_ALL_KINDS[field]})
        assert network.config != NETWORK.config
        spec.save(tmp_path / "x.safetensors", network, weights_of(network))
        assert spec.open(tmp_path / "x.safetensors").network.config == network.config

    @pytest.mark.parametrize("name", ["lenet", "nin"])
    def test_other_families_come_back(self, tmp_path, name):
        network = spec.variant(name)
        spec.save(tmp_path / "x.safetensors", network, weights_of(network))
        found = spec.open(tmp_path / "x.safetensors")
        assert (found.network.name, found.network.config) == (name, spec.variant_config(name))
        assert same(found.weights, weights_of(network))

    def test_what_is_not_given_is_not_there(self, tmp_path):
        spec.save(tmp_path / "x.safetensors", NETWORK, WEIGHTS)
        found = spec.open(tmp_path / "x.safetensors")
        assert found.preprocessing is None
        assert found.classes is None
        assert list(found.provenance) == ["tool"]

    def test_the_file_is_the_same_each_time_and_in_any_order_of_the_arrays(self, path, tmp_path):
        reversed_ = dict(reversed(WEIGHTS.items()))
        spec.save(tmp_path / "y.safetensors", NETWORK, reversed_, PREPROCESSING, {"source": "a test"}, CLASSES)
        assert header_of(tmp_path / "y.safetensors") == header_of(path)
        assert same(spec.open(tmp_path / "y.safetensors").weights, WEIGHTS)

    def test_zeros_keep_their_sign_and_the_smallest_numbers_their_bits(self, tmp_path):
        weights = WEIGHTS | {"classifier.bias": np.array([-0.0, 1e-45, 3.4e38, -1e-40, 0], np.float32)}
        spec.save(tmp_path / "x.safetensors", NETWORK, weights)
        assert same(spec.open(tmp_path / "x.safetensors").weights, weights)

    def test_arrays_may_lie_in_memory_as_they_like(self, tmp_path):
        lying = {name: np.asfortranarray(array[::-1].copy())[::-1] for name, array in WEIGHTS.items()}
        assert not all(array.flags.c_contiguous for array in lying.values())
        spec.save(tmp_path / "x.safetensors", NETWORK, lying)
        assert same(spec.open(tmp_path / "x.safetensors").weights, WEIGHTS)


BAD_METADATA = {
    "a newer version": (
        {"format_version": "2"},
        r"is of format version 2, this is densenet-reference [\d.]+, which reads version 1$",
    ),
    "no version": ({"format_version": None}, "is of format version None"),
    "no digest": ({"sha256": None}, "is damaged: its values are not those that its digest was taken of"),
    "another digest": ({"sha256": "0" * 64}, "is damaged"),
    "no config": ({"config": None}, r"config: growth_rate: missing|family: unknown None"),
    "a config that is a list": ({"config": "[]"}, "the config in its header should be a table, found a list"),
    "a config that is no JSON": ({"config": "{"}, "the config in its header is not valid JSON"),
    "a config nested deeply": ({"config": "[" * 10**5}, "the config in its header is not valid JSON"),
    "a field that does not exist": (
        {"config": json.dumps(NETWORK.config.model_dump() | {"growth": 3})},
        "config: growth: unknown field, did you mean 'growth_rate'",
    ),
    "a field out of range": (
        {"config": json.dumps(NETWORK.config.model_dump() | {"growth_rate": 0})},
        "config: growth_rate: should be greater than 0, found 0",
    ),
    "the config of another network": (
        {"config": tiny(growth_rate=5).config.model_dump_json()},
        "weights do not fit, nothing was loaded: features.conv0.weight has shape",
    ),
    "the config of a deeper network": (
        {"config": tiny(block_config=[2, 2]).config.model_dump_json()},
        "missing features.denseblock2.denselayer2.norm1.weight",
    ),
    "the config of a network that cannot be": (
        {"config": tiny().config.model_dump_json().replace('"input_size":32', '"input_size":1')},
        "input_size 1 is too small for tiny",
    ),
    "a family that does not exist": ({"config": '{"family": "efficientnet"}'}, "family: unknown 'efficientnet'"),
    "a preprocessing of another kind": (
        {"preprocessing": '{"size": "large"}'},
        "preprocessing: size: should be a valid integer, found 'large'",
    ),
    "a preprocessing that is a list": (
        {"preprocessing": "[1]"},
        "the preprocessing in its header should be a table",
    ),
    "a preprocessing of other channels": (
        {"preprocessing": '{"mean": [0.5], "std": [0.5]}'},
        "preprocessing: mean should have an entry for each of 3 channels, found 1",
    ),
    "a provenance that is a number": ({"provenance": "1"}, "the provenance in its header should be a table"),
    "classes that are a table": ({"classes": "{}"}, "the classes in its header should be a list, found a dict"),
    "classes that are no JSON": ({"classes": "cat"}, "the classes in its header is not valid JSON"),
    "too few classes": ({"classes": '["cat"]'}, r"classes should be 5 names, one for each, found \['cat'\]"),
    "classes that are numbers": (
        {"classes": "[1, 2, 3, 4, 5]"},
        "classes should be lines of 1 to 200 letters, found 1",
    ),
    "a class that would color a terminal": (
        {"classes": json.dumps(["\x1b[31mcat", *"bcde"])},
        r"classes should be lines of 1 to 200 letters, found '\\x1b\[31mcat'",
    ),
    "a class without a name": ({"classes": '["", "b", "c", "d", "e"]'}, "lines of 1 to 200 letters, found ''"),
    "two classes of one name": (
        {"classes": '["a", "b", "c", "b", "e"]'},
        "classes should differ from each other, found 'b' twice",
    ),
}


class TestHeader:
    def test_the_metadata_say_all(self, path):
        metadata = header_of(path)["__metadata__"]
        assert sorted(metadata) == [
            "classes",
            "config",
            "format",
            "format_version",
            "name",
            "preprocessing",
            "provenance",
            "sha256",
        ]
        assert (metadata["format"], metadata["format_version"], metadata["name"]) == ("densenet-reference", "1", "tiny")
        config = json.loads(metadata["config"])
        assert config["family"] == "densenet"
        assert {name: config[name] for name in FIELDS if name != "stem"} == {
            name: FIELDS[name] for name in FIELDS if name != "stem"
        }
        assert config["eps"] == 1e-5  # defaults are written out, should another version have others
        assert json.loads(metadata["preprocessing"])["channel_order"] == "BGR"
        assert json.loads(metadata["provenance"])["source"] == "a test"

    def test_the_digest_is_that_of_the_values_in_the_order_of_the_network(self, path):
        values = b"".join(array.astype("<f4").tobytes() for array in WEIGHTS.values())
        assert header_of(path)["__metadata__"]["sha256"] == hashlib.sha256(values).hexdigest()

    def test_others_read_it_as_any_safetensors_file(self, path):
        with safe_open(path, "numpy") as file:
            assert set(file.keys()) == set(WEIGHTS)
            assert all((file.get_tensor(name) == array).all() for name, array in WEIGHTS.items())

    @pytest.mark.parametrize("place", [1, 1000, -1], ids=["first", "middle", "last"])
    def test_a_flipped_bit_is_noticed(self, path, place):
        """Of a mantissa, so that all values stay finite."""
        content = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        at = len(content) - 4 if place < 0 else start + 4 * (place - 1)
        content[at] ^= 1
        path.write_bytes(content)
        with pytest.raises(spec.SpecError, match=rf"^{re.escape(str(path))} is damaged: its values are not those"):
            spec.open(path)

    @pytest.mark.parametrize("case", BAD_METADATA)
    def test_metadata_that_are_wrong_are_refused_in_one_sentence(self, path, case):
        changes, sentence = BAD_METADATA[case]
        with_metadata(path, **changes)
        with pytest.raises(spec.SpecError, match=sentence) as error:
            spec.open(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("key", ["name", "provenance", "preprocessing", "classes"])
    def test_metadata_that_may_be_absent_may_be(self, path, key):
        with_metadata(path, **{key: None})
        found = spec.open(path)
        assert same(found.weights, WEIGHTS)
        assert found.network.name == ("x" if key == "name" else "tiny")


class TestNarrowFloats:
    """Every value of the 16 bits, exactly."""

    @staticmethod
    def stored(kind: str) -> tuple[spec.Weights, bytes]:
        """The tiny network's weights cut to 16 bits, as float32; and a file that holds just those bits."""
        if kind == "float16":
            bits = {name: array.astype("<f2") for name, array in WEIGHTS.items()}
            return (
                {name: array.astype("<f4") for name, array in bits.items()},
                safetensors(entries_of(bits, "F16")),
            )
        upper = {name: (array.view("<u4") >> 16).astype("<u2") for name, array in WEIGHTS.items()}
        return (
            {name: (array.astype("<u4") << 16).view("<f4") for name, array in upper.items()},
            safetensors(entries_of(upper, "BF16")),
        )

    @pytest.mark.parametrize("kind", ["float16", "bfloat16"])
    def test_they_are_widened_with_a_warning(self, tmp_path, kind):
        expected, content = self.stored(kind)
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.warns(
            spec.SpecWarning, match=f"x.safetensors holds {kind}, read as float32: each value is the same"
        ) as said:
            found = spec.open(tmp_path / "x.safetensors")
        assert same(found.weights, expected)
        assert said[0].filename == __file__, "the line that opened the file"

    @pytest.mark.parametrize("kind", ["F16", "BF16"])
    def test_all_values_of_16_bits_are_widened_as_pytorch_does(self, tmp_path, kind):
        require("torch")
        import torch

        from spec import tensors

        every = np.arange(2**16, dtype="<u2")
        (tmp_path / "x.safetensors").write_bytes(safetensors({"x": (kind, (2**16,), every.tobytes())}))
        with pytest.warns(spec.SpecWarning, match="each value is the same"):
            found, _ = tensors.read_arrays(tensors.read_header(tmp_path / "x.safetensors"), ["x"])
        theirs = torch.from_numpy(every.view("<i2")).view({"F16": torch.float16, "BF16": torch.bfloat16}[kind]).float()
        numbers = ~np.isnan(found["x"])  # of NaNs each has many
        assert numbers.sum() > 60_000
        assert found["x"][numbers].tobytes() == theirs.numpy()[numbers].tobytes()
        assert np.isnan(theirs.numpy()[~numbers]).all()

    def test_both_kinds_and_float32_live_in_one_file(self, tmp_path):
        expected, _ = self.stored("float16")
        entries = entries_of({name: array.astype("<f2") for name, array in WEIGHTS.items()}, "F16")
        zeros = np.zeros(5, "<u2")
        entries |= {"classifier.bias": ("BF16", (5,), zeros.tobytes())}
        kernel = WEIGHTS["features.conv0.weight"]
        entries |= {"features.conv0.weight": ("F32", kernel.shape, kernel.tobytes())}
        (tmp_path / "x.safetensors").write_bytes(safetensors(entries))
        with pytest.warns(spec.SpecWarning, match="holds bfloat16 and float16"):
            found = spec.open(tmp_path / "x.safetensors")
        ours = {"classifier.bias": np.zeros(5, np.float32), "features.conv0.weight": kernel}
        assert same(found.weights, expected | ours)


class TestPlainFiles:
    """Without the metadata: names as torchvision has them."""

    def test_the_network_is_told_from_the_shapes(self, tmp_path):
        found = spec.open(plain(tmp_path / "mine.safetensors"))
        assert found.network.config == NETWORK.config
        assert found.network.name == "mine"
        assert same(found.weights, WEIGHTS)
        assert (found.preprocessing, dict(found.provenance)) == (None, {})

    def test_a_variant_has_its_name(self, tmp_path):
        weights = weights_of(spec.variant("densenet40_k12_bc"))
        assert spec.open(plain(tmp_path / "mine.safetensors", weights)).network.name == "densenet40_k12_bc"

    def test_numbers_of_batches_are_left_out(self, tmp_path):
        counted = {
            name.replace("running_var", "num_batches_tracked"): np.array(7)
            for name in WEIGHTS
            if name.endswith("running_var")
        }
        assert len(counted) > 3
        assert same(spec.open(plain(tmp_path / "x.safetensors", **counted)).weights, WEIGHTS)

    def test_a_variant_may_be_named_where_the_file_cannot_tell(self, tmp_path):
        network = spec.variant("densenet40_k12_bc", input_size=64, eps=1e-3)
        path = plain(tmp_path / "x.safetensors", weights_of(network))
        assert spec.open(path).network.input_shape == (3, 32, 32)
        (tmp_path / "mine.json").write_text('{"extends": "densenet40_k12_bc", "input_size": 64, "eps": 1e-3}')
        found = spec.open(path, tmp_path / "mine.json").network
        assert (found.input_shape, found.config.eps, found.name) == ((3, 64, 64), 1e-3, "densenet40_k12_bc")
        assert spec.open(path, "densenet40_k12_bc").network.config == spec.variant_config("densenet40_k12_bc")

    def test_what_is_no_variant_is_named_after_the_file(self, tmp_path):
        (tmp_path / "c.json").write_text(NETWORK.config.model_dump_json())
        assert spec.open(plain(tmp_path / "mine.safetensors"), tmp_path / "c.json").network.name == "mine"

    def test_a_variant_that_it_is_not_is_refused(self, tmp_path):
        path = plain(tmp_path / "x.safetensors")
        with pytest.raises(spec.SpecError, match=rf"^{re.escape(str(path))}: weights do not fit, nothing was loaded"):
            spec.open(path, "densenet121")

    def test_a_file_that_says_it_itself_takes_no_variant(self, path):
        with pytest.raises(spec.SpecError, match="says itself which network it is of: name no other"):
            spec.open(path, "densenet121")


class TestSources:
    def test_a_network_is_loaded_from_the_header_alone(self, path):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # which spec.open would notice
        assert spec.load(path) == NETWORK
        assert spec.load(str(path)).config == NETWORK.config
        assert spec.load_config(path) == NETWORK.config
        assert spec.load(path, num_classes=3).num_classes == 3

    def test_no_array_is_read_for_it(self, tmp_path):
        """A file of 40 MB."""
        network = spec.variant("densenet121", num_classes=10_000)
        spec.save(tmp_path / "large.safetensors", network, spec.initialize(network, 0))
        assert (tmp_path / "large.safetensors").stat().st_size > 60e6
        spec.load(tmp_path / "large.safetensors")
        tracemalloc.start()
        assert spec.load(tmp_path / "large.safetensors").name == "densenet121"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10e6

    @pytest.mark.parametrize("source", ["x.pth", "densenet121", "x.toml"])
    def test_weights_are_opened_from_safetensors_alone(self, source):
        with pytest.raises(
            spec.SpecError, match=r"weights are opened from a \.safetensors file, found .*densenet port"
        ):
            spec.open(source)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(spec.SpecError, match=r"none\.safetensors does not exist$"):
            spec.open(tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
class TestBackends:
    def test_every_backend_opens_it_and_gives_the_logits_of_the_reference(self, path, name):
        backend, images = require(name), images_of()
        model = backend.from_file(path)
        assert model.network == NETWORK
        found = backend.predict(model, images.astype(np.float32))
        expected = logits(NETWORK, WEIGHTS, images.astype(np.float32).astype(np.float64))
        assert difference(found, expected)[1] <= OUTPUTS["float32"]
        assert all((array == WEIGHTS[key]).all() for key, array in backend.export_weights(model).items())

    def test_every_backend_keeps_its_dtype(self, tmp_path, name):
        weights = weights_of(dtype=np.float64)
        spec.save(tmp_path / "x.safetensors", NETWORK, weights)
        backend = require(name)
        assert same(backend.export_weights(backend.from_file(tmp_path / "x.safetensors")), weights)

    def test_every_backend_takes_a_variant_for_a_plain_file(self, tmp_path, name):
        backend = require(name)
        path = plain(tmp_path / "x.safetensors")
        (tmp_path / "mine.json").write_text(json.dumps(FIELDS | {"eps": 1e-3}))
        model = backend.from_file(path, tmp_path / "mine.json")
        assert model.network.config.eps == 1e-3


OTHER_NETWORKS = {
    "eps": ({"eps": 1e-3}, "is of a network with eps=0.001, this one has 1e-05: set eps, or use from_file"),
    "stem": (
        {"stem": {"stride": 2}},
        r"is of a network with stem=\{.*\}, this one has \{.*\}: set stem, or use from_file",
    ),
    "growth": ({"growth_rate": 3}, "is of a network with growth_rate=3, this one has 4"),
}


class TestBuildersWithWeights:
    """get_model(weights=...) makes the network that is asked for: a file of another one is refused."""

    @pytest.mark.parametrize("case", OTHER_NETWORKS)
    def test_a_file_of_a_network_that_computes_something_else_is_refused(self, backend, tmp_path, case):
        fields, sentence = OTHER_NETWORKS[case]
        other = spec.variant("densenet40_k12_bc", **SHALLOW | fields)
        spec.save(tmp_path / "x.safetensors", other, weights_of(other))
        with pytest.raises(spec.SpecError, match=sentence):
            backend.get_model("densenet40_k12_bc", weights=tmp_path / "x.safetensors", **SHALLOW)
        model = backend.get_model("densenet40_k12_bc", weights=tmp_path / "x.safetensors", **SHALLOW | fields)
        assert same(backend.export_weights(model), weights_of(other))

    def test_numbers_that_change_no_logit_may_differ(self, backend, tmp_path):
        other = spec.variant("densenet40_k12_bc", **SHALLOW, input_size=64, dropout=0.5, decay=0.5)
        spec.save(tmp_path / "x.safetensors", other, weights_of(other))
        model = backend.get_model("densenet40_k12_bc", weights=tmp_path / "x.safetensors", **SHALLOW)
        assert same(backend.export_weights(model), weights_of(other))

    def test_other_classes_are_refused_by_their_shape(self, backend, tmp_path):
        other = spec.variant("densenet40_k12_bc", **SHALLOW, num_classes=3)
        spec.save(tmp_path / "x.safetensors", other, weights_of(other))
        with pytest.raises(spec.SpecError, match=r"classifier.weight has shape \(3, 10\), expected \(10, 10\)"):
            backend.get_model("densenet40_k12_bc", weights=tmp_path / "x.safetensors", **SHALLOW)

    def test_another_family_is_refused_by_name(self, backend, tmp_path):
        spec.save(tmp_path / "x.safetensors", spec.variant("lenet"), weights_of(spec.variant("lenet")))
        with pytest.raises(spec.SpecError, match="is of a network with family='lenet', this one has 'densenet'"):
            backend.get_model("densenet40_k12_bc", weights=tmp_path / "x.safetensors", **SHALLOW)


NOT_TO_BE_SAVED = {
    "another suffix": (
        lambda w: ("x.pth", NETWORK, w),
        r"a neutral file's name ends in \.safetensors, found 'x.pth'",
    ),
    "a suffix after it in the alphabet": (
        lambda w: ("x.weights", NETWORK, w),
        r"a neutral file's name ends in \.safetensors, found 'x.weights'",
    ),
    "a network made by hand": (
        lambda w: ("x.safetensors", CLASSIC["residual"], w),
        "tiny was made by hand: a neutral file needs the config that spec.build made it of",
    ),
    "a network without its classifier": (
        lambda w: ("x.safetensors", NETWORK.headless, w),
        "tiny has no classifier: a neutral file is of a whole network",
    ),
    "weights of another": (
        lambda w: ("x.safetensors", tiny(growth_rate=5), w),
        "weights do not fit, nothing was loaded: features.conv0.weight has shape",
    ),
    "a tensor less": (
        lambda w: ("x.safetensors", NETWORK, {k: a for k, a in w.items() if k != "classifier.bias"}),
        "missing classifier.bias",
    ),
    "a tensor more": (lambda w: ("x.safetensors", NETWORK, w | {"more": np.ones(1)}), "unexpected more"),
    "no tensor": (lambda w: ("x.safetensors", NETWORK, {}), "missing features.conv0.weight"),
    "NaN": (
        lambda w: ("x.safetensors", NETWORK, w | {"classifier.bias": np.full(5, np.nan, np.float32)}),
        "classifier.bias has values that are not finite",
    ),
    "float16": (
        lambda w: ("x.safetensors", NETWORK, {k: a.astype(np.float16) for k, a in w.items()}),
        "features.conv0.weight is float16",
    ),
    "two dtypes": (
        lambda w: ("x.safetensors", NETWORK, w | {"classifier.bias": np.zeros(5)}),
        "classifier.bias is float64 and the model float32, convert it",
    ),
    "lists": (
        lambda w: ("x.safetensors", NETWORK, {k: a.tolist() for k, a in w.items()}),
        "features.conv0.weight is a list, expected a NumPy array",
    ),
    "a list": (
        lambda w: ("x.safetensors", NETWORK, list(w.values())),
        "weights must be a mapping of names to arrays, found list",
    ),
    "a preprocessing of other channels": (
        lambda w: ("x.safetensors", NETWORK, w, spec.Preprocessing(mean=(0.5,), std=(0.5,))),
        "preprocessing: mean should have an entry for each of 3 channels, found 1",
    ),
    "a text for classes": (
        lambda w: ("x.safetensors", NETWORK, w, None, None, "abcde"),
        "classes should be 5 names, one for each, found 'abcde'",
    ),
    "a folder that is not there": (
        lambda w: ("none/x.safetensors", NETWORK, w),
        r"none/x\.safetensors cannot be written: No such file or directory",
    ),
    "a folder": (lambda w: ("folder.safetensors", NETWORK, w), "cannot be written: it is not a file"),
}


class TestSaving:
    @pytest.mark.parametrize("case", NOT_TO_BE_SAVED)
    def test_what_makes_no_file_is_refused_and_nothing_is_left(self, tmp_path, monkeypatch, case):
        arguments, sentence = NOT_TO_BE_SAVED[case]
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.safetensors").mkdir()
        with pytest.raises(spec.SpecError, match=sentence) as error:
            spec.save(*arguments(WEIGHTS))
        assert "\n" not in str(error.value)
        assert listing(tmp_path) == ["folder.safetensors"]

    @pytest.mark.parametrize("function", ["fsync", "replace"])
    def test_where_it_fails_the_old_file_is_whole_and_nothing_else_is_left(self, path, monkeypatch, function):
        def fail(*_):
            raise OSError(28, "No space left on device")

        before = path.read_bytes()
        monkeypatch.setattr(os, function, fail)
        with pytest.raises(spec.SpecError, match=r"x\.safetensors cannot be written: No space left on device$"):
            spec.save(path, NETWORK, weights_of(seed=1))
        assert path.read_bytes() == before
        assert listing(path.parent) == ["x.safetensors"]

    def test_a_new_file_takes_the_place_of_the_old_one(self, path):
        spec.save(path, NETWORK, weights_of(seed=1))
        assert same(spec.open(path).weights, weights_of(seed=1))
        assert listing(path.parent) == ["x.safetensors"]

    def test_others_may_read_it_as_they_may_read_any_new_file(self, path):
        """safetensors itself lets nobody."""
        (path.parent / "any").touch()
        assert path.stat().st_mode == (path.parent / "any").stat().st_mode

    def test_its_mode_is_kept(self, path):
        os.chmod(path, 0o640)
        spec.save(path, NETWORK, weights_of(seed=1))
        assert path.stat().st_mode & 0o777 == 0o640

    def test_a_link_stays_one(self, path):
        (path.parent / "link.safetensors").symlink_to(path)
        spec.save(path.parent / "link.safetensors", NETWORK, weights_of(seed=1))
        assert (path.parent / "link.safetensors").is_symlink()
        assert same(spec.open(path).weights, weights_of(seed=1))


class TestCommands:
    def test_show_shows_its_layers(self, path, capsys):
        assert main(["show", str(path)]) == 0
        found = capsys.readouterr().out
        assert "tiny at 3x32x32" in found
        assert "denselayer2" in found

    def test_parity_runs_its_weights(self, path, capsys, tmp_path):
        for name in FRAMEWORKS:
            require(name)
        assert main(["parity", str(path), "--json", str(tmp_path / "out.json")]) == 0
        found = json.loads((tmp_path / "out.json").read_text())
        assert "tiny" in capsys.readouterr().out
        assert {row["backend"] for row in found["results"]} == {"numpy", *chosen()}

    def test_parity_of_a_file_is_not_that_of_random_weights(self, path, capsys, monkeypatch):
        """Shown by what the reference is given."""
        from densenet_tools.commands import parity

        given = []
        verify = parity.verify

        def recorded(*arguments):
            given.append(arguments[-1])
            return verify(*arguments)

        monkeypatch.setattr(parity, "verify", recorded)
        assert main(["parity", str(path), "--backends", "numpy"]) == 0
        assert same(given[0], WEIGHTS)

    def test_its_own_preprocessing_is_done(self, path, monkeypatch):
        from densenet_tools import images

        given = []
        load = images.load

        def recorded(*arguments):
            given.append(arguments[-1])
            return load(*arguments)

        monkeypatch.setattr(images, "load", recorded)
        assert main(["parity", str(path), "--backends", "numpy"]) == 0
        assert given == [PREPROCESSING]

    def test_fields_of_a_weights_file_cannot_be_set_for_parity(self, path, capsys):
        assert main(["parity", str(path), "--set", "num_classes=3"]) == 2
        found = capsys.readouterr().err
        assert "x.safetensors has the weights of the network that it is of: leave --set out" in found
        assert found.count("\n") == 1

    @pytest.mark.parametrize("command", ["show", "parity"])
    def test_a_damaged_file_is_refused_in_one_sentence(self, path, capsys, command):
        path.write_bytes(path.read_bytes()[:-1])
        assert main([command, str(path)]) == 2
        found = capsys.readouterr().err
        assert "x.safetensors is not a readable safetensors file" in found
        assert found.count("\n") == 1


def test_the_reference_takes_float32_files_in_float64(path):
    model = reference.from_file(path)
    assert {array.dtype for array in reference.export_weights(model).values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(("num_classes", "kept"), [(None, True), (5, True), (4, False)])
def test_ported_weights_keep_the_names_of_their_classes_unless_the_classifier_is_new(path, num_classes, kept):
    ported = porting.convert(path, porting.Format.NEUTRAL, porting.Format.NEUTRAL, num_classes=num_classes)
    porting.write(path.parent / "y.safetensors", porting.Format.NEUTRAL, ported.result)
    assert spec.open(path.parent / "y.safetensors").classes == (CLASSES if kept else None)
