"""Broken twins: named mutants with one small fault each, and the check that must catch each of them.

A mutant is a backend with another spec, a fault in the finished model (tests/faults) or spoiled weights. The
comparison is the one that `densenet parity` makes; a mutant that survived it would be a hole in the suite.
"""

import ast
import dataclasses
import importlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spec
import spec.blocks
import spec.layers
from tests.cases import CLASSIC, SMALL, small, squeezed
from tests.support import FRAMEWORKS, Runner, require, verdict

NETWORK = small(bn_size=4, compression=0.5, **squeezed("final"))


@dataclass(frozen=True)
class Mutant:
    """A fault, the network it shows in, and a part of the sentence that must report it.

    Where the faulty network has parameters of other shapes than the right one, `loads` is False: it keeps its own.
    """

    caught_by: str
    network: spec.Network = NETWORK
    nodes: Callable[[spec.Network], spec.Network] | None = None
    fault: str | None = None
    weights: Callable[[spec.Weights], None] | None = None
    gradients: Callable[[spec.Weights], None] | None = None
    loads: bool = True


def at(layer: str) -> str:
    return f"first at layer {layer} "


COUNTS = "parameters and"
GRADIENTS = "in gradients, most at "
STATISTICS = "in statistics, most at "


def every(kind: type, **changes: Any) -> Callable[[spec.Network], spec.Network]:
    """Makes `changes` to every node of a kind that another node holds."""

    def change(node):
        if not isinstance(node, kind):
            return node
        return dataclasses.replace(node, **{k: v(node) if callable(v) else v for k, v in changes.items()})

    return lambda network: dataclasses.replace(network, root=spec.rewrite(network.root, change))


def reordered(network: spec.Network) -> spec.Network:
    """Squeeze-and-excitation after the last norm instead of before it."""
    (name, features), *head = network.root.children
    *body, se, norm = features.children
    return dataclasses.replace(network, root=spec.Sequential(((name, spec.Sequential((*body, norm, se))), *head)))


def spoiled(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[spec.Weights], None]:
    return lambda weights: weights.update({name: change(weights[name])})


def exchanged(a: str, b: str) -> Callable[[spec.Weights], None]:
    return lambda weights: weights.update({a: weights[b], b: weights[a]})


LAYER = "features.denseblock1.denselayer1"
BatchNorm = spec.layers.BatchNorm
MUTANTS = {
    "epsilon 1e-3": Mutant(at("features.norm0"), nodes=every(BatchNorm, eps=1e-3)),
    "epsilon 1.001e-5": Mutant(at("features.norm0"), nodes=every(BatchNorm, eps=1.001e-5)),
    "epsilon of dense layers": Mutant(at(f"{LAYER}.norm1"), nodes=every(spec.blocks.DenseLayer, eps=1e-3)),
    "epsilon of transitions": Mutant(at("features.transition1.norm"), nodes=every(spec.blocks.Transition, eps=1e-3)),
    "momentum swapped": Mutant(STATISTICS, nodes=every(BatchNorm, decay=0.1)),
    "stem padded SAME": Mutant(at("features.conv0"), fault="same_padding"),
    "stem padding 2": Mutant(at("features.conv0"), nodes=every(spec.layers.Conv, padding=2)),
    "stem stride 3": Mutant(at("features.conv0"), nodes=every(spec.layers.Conv, stride=3)),
    "ceil_mode": Mutant(
        at("features.transition1.pool"), dataclasses.replace(NETWORK, input_shape=(3, 42, 42)), fault="ceil_mode"
    ),
    "max pool over zeros": Mutant(at("features.pool0"), SMALL["pool_on_negatives"], fault="pool_over_zeros"),
    "concatenation swapped": Mutant(at("features.denseblock1.denselayer2"), fault="swap_concatenation"),
    "skip connection detached": Mutant(GRADIENTS, fault="detach_skip_connection"),
    "linear transposed": Mutant(at("classifier"), weights=spoiled("classifier.weight", lambda w: w.T.reshape(w.shape))),
    "kernel flipped": Mutant(
        at(f"{LAYER}.conv2"), weights=spoiled(f"{LAYER}.conv2.weight", lambda w: w[:, :, ::-1, ::-1])
    ),
    "kernel transposed": Mutant(
        at("features.conv0"), weights=spoiled("features.conv0.weight", lambda w: w.swapaxes(2, 3))
    ),
    "batch norm and ReLU swapped": Mutant(at("features.transition1.norm"), fault="swap_norm_and_relu"),
    "last ReLU missing": Mutant(at("relu"), fault="drop_last_relu"),
    "convolution biased": Mutant(COUNTS, nodes=every(spec.layers.Conv, bias=True), loads=False),
    "compression rounded up": Mutant(
        COUNTS,
        small(bn_size=4, compression=0.45),
        nodes=lambda network: small(bn_size=4, compression=0.5),
        loads=False,
    ),
    "squeeze-and-excitation one channel wider": Mutant(
        COUNTS,
        nodes=every(spec.blocks.SqueezeExcitation, hidden_channels=lambda node: node.hidden_channels + 1),
        loads=False,
    ),
    "squeeze-and-excitation after the norm": Mutant(at("features.se.pool"), nodes=reordered),
    "squeezed by the maximum": Mutant(at("features.se.pool"), fault="squeeze_by_maximum"),
    "running variance not loaded": Mutant(
        at("features.norm5"), weights=spoiled("features.norm5.running_var", np.ones_like)
    ),
    "weights of neighbours exchanged": Mutant(
        at(f"{LAYER}.conv2"),
        weights=exchanged(f"{LAYER}.conv2.weight", f"{LAYER.replace('layer1', 'layer2')}.conv2.weight"),
    ),
    "scale and shift exchanged": Mutant(
        at("features.norm0"), weights=exchanged("features.norm0.weight", "features.norm0.bias")
    ),
    "training mode left on": Mutant(at("features.norm5"), fault="stay_in_training_mode"),
    "channels last flattened as channels first": Mutant(
        at("flatten"), CLASSIC["flattened"], fault="flatten_channels_last"
    ),
    "gradient of one parameter dropped": Mutant(
        f"{GRADIENTS}features.norm0.bias", gradients=spoiled("features.norm0.bias", np.zeros_like)
    ),
    "projection missing": Mutant(
        "first at layer layer1.downsample", CLASSIC["residual_strided"], fault="project_nothing"
    ),
    "residual added after the ReLU": Mutant(at("layer1"), CLASSIC["residual"], fault="add_after_relu"),
    "Inception branches in another order": Mutant(at("a"), CLASSIC["inception"], fault="exchange_branches"),
}


def faulty(mutant: Mutant, name: str) -> types.SimpleNamespace:
    """A backend with the fault."""
    right = require(name)

    def build(network, dtype):
        model = right.build(mutant.nodes(network) if mutant.nodes else network, dtype=dtype)
        model.network = network
        if not mutant.loads and hasattr(model, "initialize"):
            model.initialize()
        if mutant.fault:
            getattr(importlib.import_module(f"tests.faults.{name}"), mutant.fault)(model)
        return model

    def load_weights(model, weights):
        weights = dict(weights)
        if mutant.weights:
            mutant.weights(weights)
        if mutant.loads:
            right.load_weights(model, {k: np.ascontiguousarray(v) for k, v in weights.items()})

    def loss_and_gradients(model, images, labels):
        loss, gradients, statistics = right.loss_and_gradients(model, images, labels)
        if mutant.gradients:
            mutant.gradients(gradients)
        return loss, gradients, statistics

    functions = {function: getattr(right, function) for function in right.__all__}
    changed = {"build": build, "load_weights": load_weights, "loss_and_gradients": loss_and_gradients}
    return types.SimpleNamespace(**functions | changed)


def problem(mutant: Mutant, name: str, monkeypatch: pytest.MonkeyPatch, dtype: str = "float64") -> str | None:
    """What the comparison says of a mutant; None if it finds nothing."""
    backend, load = faulty(mutant, name), Runner.load
    monkeypatch.setattr(Runner, "load", lambda runner: backend if runner.backend == name else load(runner))
    images = np.random.default_rng(0).normal(size=(3, *mutant.network.input_shape))
    result = verdict(mutant.network, name, images, dtype, checks=["layers", "gradients"])
    assert result.agrees == (result.problem is None)
    return result.problem


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught_by_its_check(mutant, backend_name, monkeypatch):
    found = problem(MUTANTS[mutant], backend_name, monkeypatch)
    assert found is not None, "the mutant survived"
    assert MUTANTS[mutant].caught_by in found


@pytest.mark.parametrize(
    "network", {mutant.network: None for mutant in MUTANTS.values()}, ids=lambda network: network.name
)
def test_without_the_fault_nothing_is_found(network, backend_name, monkeypatch):
    assert problem(Mutant("", network), backend_name, monkeypatch) is None


def test_there_are_as_many_as_promised():
    assert len(MUTANTS) >= 20
    assert {mutant.caught_by for mutant in MUTANTS.values()} >= {COUNTS, GRADIENTS, STATISTICS}


def test_the_faults_of_the_backends_are_the_same():
    """In the same order, so that they are read side by side."""
    faults = []
    for name in FRAMEWORKS:
        tree = ast.parse((Path(__file__).parent / "faults" / f"{name}.py").read_text(encoding="utf-8"))
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        faults.append([node.name for node in functions if [argument.arg for argument in node.args.args] == ["model"]])
    assert faults == [faults[0]] * len(FRAMEWORKS)
    assert set(faults[0]) == {mutant.fault for mutant in MUTANTS.values() if mutant.fault}


def test_float32_is_too_coarse_for_the_epsilon_of_keras_applications(backend_name, monkeypatch):
    """Why the suite runs in float64 too."""
    assert problem(MUTANTS["epsilon 1.001e-5"], backend_name, monkeypatch, dtype="float32") is None


def test_padding_with_zeros_is_no_fault_after_a_relu(backend_name, monkeypatch):
    assert problem(Mutant("", fault="pool_over_zeros"), backend_name, monkeypatch) is None
