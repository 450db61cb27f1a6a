"""Pairs of planted faults: both are named, whatever one does to what the other sees."""

import importlib
import itertools
import random

import numpy as np
import pytest

import spec
from densenet_tools.backends import chosen_by_keras
from densenet_tools.diagnosis import diagnose, to_text
from tests.diagnosis import test_diagnose, test_training
from tests.support import require
from tests.test_controls import MUTANTS, NETWORK

COUNT, SHARE = 60, 0.95
SAID = test_diagnose.SAID | test_training.SAID
# Faults of one network that leave its structure as it is, so that two of them can be planted together.
STRUCTURAL = ("compression rounded up", "convolution biased")
SINGLE = [
    name
    for name in SAID
    if MUTANTS[name].network is NETWORK and "squeeze-and-excitation" not in name and name not in STRUCTURAL
]
SAME_PLACE = [  # the second would undo the first, or is the same fault in other words, or both are told as one
    {"epsilon 1e-3", "epsilon 1.001e-5"},
    {"epsilon of dense layers", "epsilon 1e-3"},
    {"stem padded SAME", "stem padding 2"},
    {"stem padded SAME", "stem stride 3"},
    {"kernel flipped", "weights of neighbours exchanged"},
    {"concatenation swapped", "skip connection detached"},
]


def pairs() -> list[tuple[str, str]]:
    """Two faults each, drawn once and for all."""
    all_pairs = [pair for pair in itertools.combinations(SINGLE, 2) if set(pair) not in SAME_PLACE]
    return random.Random(0).sample(all_pairs, COUNT)


def told(pair: tuple[str, str], name: str) -> str:
    backend, mutants = require(name), [MUTANTS[each] for each in pair]
    network = NETWORK
    for mutant in mutants:
        network = mutant.nodes(network) if mutant.nodes else network
    model = backend.build(network)
    for mutant in mutants:
        if mutant.fault:
            getattr(importlib.import_module(f"tests.faults.{name}"), mutant.fault)(model)
    right = spec.randomize(spec.initialize(NETWORK, 0), 0)
    spoiled = dict(right)
    for mutant in mutants:
        if mutant.weights:
            mutant.weights(spoiled)
    backend.load_weights(model, {name: np.ascontiguousarray(array) for name, array in spoiled.items()})
    if any(mutant.gradients for mutant in mutants):
        backend.freeze(model, ["features.norm0.bias"])
    return to_text(diagnose(model, NETWORK, right, training=name != "keras" or chosen_by_keras() != "jax"))


def key(fault: str) -> str:
    """What must be said of it, without the layers that it may share with the other."""
    return SAID[fault].partition(": ")[2].rstrip(":")


@pytest.mark.slow
def test_both_faults_of_a_pair_are_named(backend_name):
    missed = {}
    for pair in pairs():
        text = told(pair, backend_name)
        if not all(key(fault) in text for fault in pair):
            missed[pair] = text
    assert len(missed) <= (1 - SHARE) * COUNT, "\n".join(f"{pair}\n{text}" for pair, text in missed.items())
