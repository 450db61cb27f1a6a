"""Broken twins of a graph are caught where the fault sits, as those of the other backends are."""

import numpy as np
import pytest

from tests.support import Runner, require, verdict
from tests.test_controls import MUTANTS, Mutant, faulty

INFERENCE = {  # what inference shows, of models that take the right network's weights
    name: mutant for name, mutant in MUTANTS.items() if mutant.caught_by.startswith("first at layer ") and mutant.loads
}


def problem(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What the comparison says of a mutant; None if it finds nothing."""
    require("onnx")
    backend, load = faulty(mutant, "onnx"), Runner.load
    monkeypatch.setattr(Runner, "load", lambda runner: backend if runner.backend == "onnx" else load(runner))
    images = np.random.default_rng(0).normal(size=(3, *mutant.network.input_shape))
    return verdict(mutant.network, "onnx", images, "float64", checks=["layers"]).problem


@pytest.mark.parametrize("mutant", INFERENCE)
def test_a_mutant_is_caught_where_its_fault_sits(mutant, monkeypatch):
    found = problem(INFERENCE[mutant], monkeypatch)
    assert found is not None, "the mutant survived"
    assert INFERENCE[mutant].caught_by in found


@pytest.mark.parametrize(
    "network", {mutant.network: None for mutant in INFERENCE.values()}, ids=lambda network: network.name
)
def test_without_the_fault_nothing_is_found(network, monkeypatch):
    assert problem(Mutant("", network), monkeypatch) is None


def test_padding_with_zeros_is_no_fault_after_a_relu(monkeypatch):
    assert problem(Mutant("", fault="pool_over_zeros"), monkeypatch) is None


def test_there_are_as_many_as_inference_can_show():
    assert len(INFERENCE) >= 20
