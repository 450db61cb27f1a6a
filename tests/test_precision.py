"""Executors that compute in less than the model's dtype are held to bars of their own, and say how far they are."""

import numpy as np
import pytest

import spec
from densenet_tools.backends import parse
from densenet_tools.commands.tables import parity_table
from densenet_tools.parity import verify
from densenet_tools.parity.tolerance import OUTPUTS
from tests.cases import CASES, VARIANTS
from tests.support import loaded, photographs, require, verdict

REDUCED = {"torch:bfloat16": "bfloat16", "onnx:openvino_bfloat16": "bfloat16", "onnx:int8": "int8"}


@pytest.fixture(params=REDUCED)
def name(request):
    require(request.param.split(":")[0])
    return request.param


@pytest.mark.parametrize("case", ["bottleneck", "se_everywhere", "inception", "flattened"])
def test_it_agrees_within_its_own_bar(case, name):
    found = verdict(CASES[case].network, name, photographs(CASES[case].input_shape))
    assert found.agrees, found.problem
    assert found.checks[0].tolerance == OUTPUTS[REDUCED[name]]
    if name != "onnx:openvino_bfloat16":  # which computes in float32 where the processor has no bfloat16
        assert found.checks[0].relative > OUTPUTS["float32"]


@pytest.mark.slow
@pytest.mark.parametrize("case", VARIANTS)
def test_every_variant_agrees_within_that_bar(case, name):
    found = verdict(VARIANTS[case].network, name, photographs(VARIANTS[case].input_shape))
    assert found.agrees, found.problem


def test_what_is_wrong_by_more_is_caught(name):
    """The channels that a transition reads, shifted: what a swapped concatenation is."""
    case = CASES["bottleneck"]
    weights = spec.randomize(spec.initialize(case.network, 0), 0)
    runner, batch = parse(name), photographs(case.input_shape).astype("float32")
    right = runner.predict(loaded(runner.load(), case.network, weights), batch)
    kernel = weights["features.transition1.conv.weight"]
    swapped = weights | {"features.transition1.conv.weight": np.roll(kernel, 4, axis=1)}
    wrong = runner.predict(loaded(runner.load(), case.network, swapped), batch)
    assert abs(wrong - right).max() > OUTPUTS[REDUCED[name]] * abs(right).max()


def test_the_model_stays_as_it_was(name):
    case, runner = CASES["bottleneck"], parse(name)
    backend = runner.load()
    model = loaded(backend, case.network, spec.randomize(spec.initialize(case.network, 0), 0))
    batch = photographs(case.input_shape).astype("float32")
    before = backend.predict(model, batch)
    first = runner.predict(model, batch)
    assert (runner.predict(model, batch) == first).all()
    assert (backend.predict(model, batch) == before).all()
    assert first.dtype == np.float32


def test_other_weights_are_calibrated_anew():
    backend, case = require("onnx"), CASES["bottleneck"]
    batch = photographs(case.input_shape).astype("float32")
    model = loaded(backend, case.network, spec.randomize(spec.initialize(case.network, 0), 0))
    first = backend.EXECUTORS["int8"](model, batch)
    backend.load_weights(model, spec.randomize(spec.initialize(case.network, 1), 1))
    assert abs(backend.EXECUTORS["int8"](model, batch) - first).max() > OUTPUTS["int8"] * abs(first).max()


def test_a_model_in_float64_is_refused_and_left_out_of_the_table(name):
    runner, network = parse(name), CASES["plain"].network
    model = loaded(runner.load(), network, spec.initialize(network, 0, np.float64))
    with pytest.raises(spec.SpecError, match="is for models in float32, and this one is float64: build it in float32"):
        runner.predict(model, photographs(network.input_shape))
    others = parse(runner.backend).others
    assert runner in others("float32")
    assert runner not in others("float64")


def test_the_table_says_which_bar_is_another():
    require("torch")
    network = CASES["plain"].network
    rows = verify(network, [parse("torch"), parse("torch:bfloat16")], photographs(network.input_shape))
    assert list(parity_table("", rows).columns[-1].cells) == ["yes", "yes, within 2e-02"]
