"""The door of every backend: strict weights, checked images, and models left as they were."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import spec
from tests.cases import SMALL
from tests.support import FRAMEWORKS, require

NETWORK = SMALL["se_everywhere"]


@pytest.fixture(scope="module", params=["numpy", *FRAMEWORKS])
def loaded(request):
    """(backend, model with weights, those weights) in float32, for NumPy and each framework; no test may change it."""
    backend = require(request.param)
    model = backend.build(NETWORK, dtype="float32")
    weights = spec.randomize(spec.initialize(NETWORK, 0), 0)
    backend.load_weights(model, weights)
    return backend, model, weights


def images(**changes) -> np.ndarray:
    return np.random.default_rng(0).normal(size=changes.get("shape", (2, 3, 40, 40))).astype(np.float32)


def same(found: spec.Weights, expected: spec.Weights) -> bool:
    return list(found) == list(expected) and all((found[name] == expected[name]).all() for name in expected)


def test_weights_come_out_as_they_went_in(loaded):
    backend, model, weights = loaded
    exported = backend.export_weights(model)
    assert same(exported, weights)
    assert all(array.dtype == np.float32 for array in exported.values())
    assert {name: array.shape for name, array in exported.items()} == spec.parameter_shapes(NETWORK)


def test_exported_weights_are_copies(loaded):
    backend, model, weights = loaded
    for array in backend.export_weights(model).values():
        array += 1
    assert same(backend.export_weights(model), weights)


def without(name):
    return lambda weights: weights.pop(name)


def with_changed(name, change):
    return lambda weights: weights.update({name: change(weights[name])})


def poisoned(value):
    def change(array):
        array = array.copy()
        array.flat[-1] = value
        return array

    return change


BIAS, KERNEL = "classifier.bias", "features.conv0.weight"
BAD_WEIGHTS = {
    "missing": (without(BIAS), "missing classifier.bias"),
    "extra": (lambda w: w.update({"extra.weight": w[BIAS]}), "unexpected extra.weight"),
    "renamed": (lambda w: w.update({"head.bias": w.pop(BIAS)}), "missing classifier.bias; unexpected head.bias"),
    "misshapen": (with_changed(BIAS, lambda a: a[:-1]), r"classifier.bias has shape \(4,\), expected \(5,\)"),
    "transposed": (
        with_changed(KERNEL, lambda a: a.transpose(2, 3, 1, 0)),
        r"features.conv0.weight has shape \(7, 7, 3, 6\), expected \(6, 3, 7, 7\)",
    ),
    "float64": (with_changed(BIAS, lambda a: a.astype(np.float64)), "classifier.bias is float64 and the model float32"),
    "integer": (with_changed(BIAS, lambda a: a.astype(np.int64)), "classifier.bias is int64"),
    "text": (with_changed(BIAS, lambda a: np.array(["a"] * 5)), "classifier.bias is <U1"),
    "list": (with_changed(BIAS, lambda a: a.tolist()), "classifier.bias is a list, expected a NumPy array"),
    "nan": (with_changed(BIAS, poisoned(np.nan)), "classifier.bias has values that are not finite"),
    "inf": (with_changed(KERNEL, poisoned(-np.inf)), "features.conv0.weight has values that are not finite"),
    "empty": (lambda w: w.clear(), "missing features.conv0.weight, .* and 100 more"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_do_not_fit_are_refused_and_nothing_changes(loaded, case):
    backend, model, weights = loaded
    spoil, sentence = BAD_WEIGHTS[case]
    # All other entries differ from what is loaded, so that a partial assignment would show.
    bad = {name: array + np.float32(0.5) for name, array in weights.items()}
    spoil(bad)
    if case == "empty":
        sentence = f"missing features.conv0.weight, .* and {len(weights) - 3} more"
    with pytest.raises(spec.SpecError, match=f"^weights do not fit, nothing was loaded: .*{sentence}") as error:
        backend.load_weights(model, bad)
    assert "\n" not in str(error.value)
    assert same(backend.export_weights(model), weights)


def test_weights_must_be_a_mapping(loaded):
    backend, model, weights = loaded
    with pytest.raises(spec.SpecError, match="weights must be a mapping of names to arrays, found list"):
        backend.load_weights(model, list(weights.values()))


BAD_IMAGES = {
    "list": ([[0.0]], "images must be a NumPy array, found list"),
    "bytes": (np.zeros((1, 3, 40, 40), np.uint8), "images must be floats, found uint8: scale them first"),
    "one image": (np.zeros((3, 40, 40), np.float32), r"images must have shape \(N, C, H, W\).* found \(3, 40, 40\)"),
    "no image": (np.zeros((0, 3, 40, 40), np.float32), "with N at least 1"),
    "gray": (
        np.zeros((1, 1, 40, 40), np.float32),
        "small takes images of 3 channel.*found 1x40x40.*in_channels=1",
    ),
    "channels last": (np.zeros((1, 40, 40, 3), np.float32), "small takes images of 3 channel.*, found 40x40x3"),
    "too small": (np.zeros((1, 3, 40, 4), np.float32), "3x40x4 is too small for small: the smallest.* is 3x5x5"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_images_that_do_not_fit_are_refused(loaded, case):
    backend, model, _ = loaded
    batch, sentence = BAD_IMAGES[case]
    for function in (backend.predict, backend.trace):
        with pytest.raises(spec.SpecError, match=sentence) as error:
            function(model, batch)
        assert "\n" not in str(error.value)


def test_inference_leaves_images_and_weights_alone(loaded):
    backend, model, weights = loaded
    batch = images()
    before = batch.copy()
    first = backend.predict(model, batch)
    backend.trace(model, batch)
    assert (backend.predict(model, batch) == first).all()
    assert (batch == before).all()
    assert same(backend.export_weights(model), weights)


def test_float64_images_are_taken_in_the_precision_of_the_model(loaded):
    backend, model, _ = loaded
    assert backend.predict(model, images().astype(np.float64)).dtype == np.float32


@pytest.mark.parametrize("network", [None, "densenet121", spec.variant_config("densenet121")])
def test_build_takes_networks_only(backend, network):
    with pytest.raises(TypeError, match=r"build takes a spec\.Network, found"):
        backend.build(network)


BAD_LABELS = {
    "floats": (np.zeros(2), "labels must be a NumPy array of integers, found float64"),
    "list": ([0, 1], "labels must be a NumPy array of integers, found list"),
    "one-hot": (np.zeros((2, 5), int), r"labels must have shape \(2,\), one for each image, found \(2, 5\)"),
    "too large": (np.array([0, 5]), "labels must lie between 0 and 4, found 0 to 5"),
    "negative": (np.array([-1, 0]), "labels must lie between 0 and 4, found -1 to 0"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_do_not_fit_are_refused(backend, case):
    labels, sentence = BAD_LABELS[case]
    model = backend.build(NETWORK)
    with pytest.raises(spec.SpecError, match=sentence):
        backend.loss_and_gradients(model, images(), labels)


def test_a_loss_needs_logits(backend):
    with pytest.raises(spec.SpecError, match="ends in a softmax, a loss needs logits"):
        backend.loss_and_gradients(backend.build(SMALL["softmax"]), images(), np.array([0, 1]))


class TestSafetensors:
    @pytest.fixture
    def weights(self):
        return spec.initialize(spec.variant("densenet40_k12_bc"), 0)

    def test_builders_load_a_file_with_canonical_names(self, backend, weights, tmp_path):
        save_file(weights, tmp_path / "w.safetensors")
        model = backend.get_model("densenet40_k12_bc", weights=tmp_path / "w.safetensors")
        assert same(backend.export_weights(model), weights)

    def test_a_file_that_is_none_is_refused(self, backend, tmp_path):
        (tmp_path / "w.safetensors").write_bytes(b"not a safetensors file")
        for name, sentence in {
            "w.safetensors": "is not a readable safetensors file",
            "absent.safetensors": "absent.safetensors does not exist",
            "w.pkl": r"must be the path of a \.safetensors file with canonical names, found .*w\.pkl",
            "w.weights": r"must be the path of a \.safetensors file with canonical names, found .*w\.weights",
        }.items():
            with pytest.raises(spec.SpecError, match=sentence):
                backend.get_model("densenet40_k12_bc", weights=tmp_path / name)

    def test_a_name_of_hosted_weights_is_refused(self, backend):
        with pytest.raises(spec.SpecError, match="found 'imagenet': no weights are hosted or downloaded"):
            backend.get_model("densenet40_k12_bc", weights="imagenet")
