"""All backends put out the same numbers as the NumPy reference."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest

import spec
from densenet_tools.parity import verify
from densenet_tools.parity.differences import (
    BLOCK,
    difference,
    euclidean,
    gradient_differences,
    layer_differences,
)
from densenet_tools.parity.tolerance import OUTPUTS
from densenet_tools.parity.verdict import first_departure
from tests.cases import CASES, VARIANTS
from tests.support import FRAMEWORKS, Runner, photographs, require, verdict

# In float32 with `slow`: they differ from the others in numbers alone, and all run in float64.
LARGE = {
    *("densenet161", "densenet169", "densenet201", "densenet264", "densenet190_k40_bc", "densenet250_k24_bc"),
    *("densenet100_k24", "se_densenet161", "se_densenet169", "se_densenet201"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in LARGE)) for case in [*CASES, *VARIANTS]]
)
def test_logits_agree_in_float32(case, backend_name, monkeypatch):
    """A variant as its public builder builds it; Keras' end in a softmax unless told not to."""
    backend = require(backend_name)
    if case in VARIANTS:
        no_softmax = {"classifier_activation": None} if backend_name == "keras" else {}
        builder = partial(getattr(backend, case), input_size=VARIANTS[case].input_shape[1], **no_softmax)
        monkeypatch.setattr(backend, "build", lambda network, dtype: builder())
    case = (CASES | VARIANTS)[case]
    result = verdict(case.network, backend_name, photographs(case.input_shape), "float32")
    assert result.agrees, result.problem


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", spec.names())
def test_logits_agree_at_the_published_size(name, dtype):
    network = spec.variant(name)
    for backend_name in FRAMEWORKS:
        require(backend_name)
    for result in verify(network, map(Runner, FRAMEWORKS), photographs(network.input_shape), dtype):
        assert result.agrees, result.problem


@pytest.mark.parametrize("case", [*CASES, *VARIANTS])
def test_every_layer_and_the_logits_agree_in_float64(case, backend_name):
    require(backend_name)
    case = (CASES | VARIANTS)[case]
    result = verdict(case.network, backend_name, photographs(case.input_shape), "float64", checks=["layers"])
    assert result.agrees, result.problem
    assert [name for name, _ in result.layers] == [path for path, _ in spec.walk(case.network.root)]
    assert max(relative for _, relative in result.layers) <= OUTPUTS["float64"]


def test_the_first_departure_comes_with_what_is_upstream_of_it():
    ones = dict.fromkeys("abcd", np.ones(2))
    found = ones | {"a": np.ones(2) + 1e-14, "c": np.array([1.0, 1.5]), "d": np.zeros(2)}
    departure = first_departure(layer_differences(found, ones), 1e-12)
    assert (departure.layer, departure.relative, departure.upstream) == ("c", 0.5, 2)
    assert departure.upstream_relative == pytest.approx(1e-14, rel=0.01)
    assert first_departure(layer_differences(ones, ones), 1e-12) is None
    missing = first_departure(layer_differences({"a": ones["a"]}, ones), 1e-12)
    assert missing.layer == "b"
    assert np.isnan(missing.relative)


def test_the_weights_really_exercise_batch_norm_and_biases():
    network = CASES["biased"].network
    fresh = spec.initialize(network, 0)
    weights = spec.randomize(fresh, 0)
    for name, array in weights.items():
        assert (array.ndim > 1) == (array == fresh[name]).all(), name
        assert array.dtype == np.float32
    assert len({array.tobytes() for array in weights.values()}) == len(weights)


def test_other_seeds_give_other_logits_and_the_same_seed_the_same():
    network, batch = CASES["plain"].network, photographs(CASES["plain"].input_shape)
    first, again, other = (verdict(network, "numpy", batch, "float32", seed) for seed in (0, 0, 1))
    assert first.absolute == again.absolute != other.absolute
    assert first.absolute > 0, "float32 differs from the float64 reference by rounding"


def test_difference_is_relative_to_the_largest_value():
    assert difference(np.array([1.0, 4.5]), np.array([1.0, 5.0])) == (0.5, 0.1)
    assert difference(np.array([0.5]), np.array([0.0])) == (0.5, 0.5)
    assert np.isnan(difference(np.zeros(2), np.zeros(3))).all()


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 0, BLOCK - 1), (1, 1, 7), (2, 1, -1)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_one_value_is_seen_wherever_it_is_in_an_array_of_many_blocks(place, axes):
    expected = np.ones((3, 2, BLOCK), np.float32)
    found = expected.copy()
    found[place] = -4
    assert difference(found.transpose(axes), expected.transpose(axes)) == (5, 5)
    found[place] = np.nan
    assert np.isnan(difference(found.transpose(axes), expected.transpose(axes))).all()


def test_blocks_make_no_difference_to_a_euclidean_norm(rng):
    expected = {"conv.weight": rng.normal(size=(5, BLOCK))}
    found = {"conv.weight": expected["conv.weight"] + 3}
    norm = np.sqrt((expected["conv.weight"] ** 2).sum())
    differences = gradient_differences(found, expected, euclidean)
    assert differences["conv.weight"] == pytest.approx(3 * np.sqrt(5 * BLOCK) / norm, rel=1e-12)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_value_that_is_not_finite_never_agrees(broken, monkeypatch):
    from spec import reference

    predict = reference.predict

    def broken_predict(model, batch):
        logits = predict(model, batch)
        if model.dtype == "float32":
            logits[0, 0] = broken
        return logits

    monkeypatch.setattr(reference, "predict", broken_predict)
    result = verdict(CASES["plain"].network, "numpy", photographs(CASES["plain"].input_shape), "float32")
    assert not result.agrees


def test_the_results_are_plain_data():
    result = verdict(CASES["plain"].network, "numpy", photographs(CASES["plain"].input_shape), "float64")
    plain = json.loads(json.dumps(dataclasses.asdict(result)))
    assert plain["network"] == "small"
    assert plain["output_shape"] == [2, 5]
    assert plain["absolute"] == plain["checks"][0]["relative"] == 0
    assert plain["problem"] is plain["departure"] is None
