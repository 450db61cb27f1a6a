"""Planted faults, in every backend: the right layer and cause come first, and a sound model departs in nothing."""

import importlib

import numpy as np
import pytest

import spec
from densenet_tools.backends import chosen_by_keras
from densenet_tools.diagnosis import Diagnosis, diagnose, to_text
from tests.cases import CLASSIC, SMALL, small, squeezed
from tests.support import require
from tests.test_controls import LAYER, MUTANTS, Mutant

# What must be said first of each mutant of tests/test_controls.py: the line up to its figures, or the sentence.
SAID = {
    "epsilon 1e-3": "features.norm0 and features.norm5: eps 0.001:",
    "epsilon 1.001e-5": "features.norm0 and features.norm5: eps 1.001e-05:",
    "epsilon of dense layers": f"{LAYER}.norm1 and 9 more up to features.denseblock2.denselayer3.norm2: eps 0.001:",
    "epsilon of transitions": "features.transition1.norm: eps 0.001:",
    "stem padded SAME": "features.conv0: padded by 2 and 3 pixels:",
    "stem padding 2": "features.conv0: padded by 2:",
    "stem stride 3": "features.conv0: stride 3:",
    "ceil_mode": "features.transition1.pool: ceil_mode True:",
    "max pool over zeros": "features.pool0: the padding counts as zeros, not as nothing:",
    "concatenation swapped": "features.denseblock1.denselayer2: the new channels come first:",
    "linear transposed": "classifier: weight transposed:",
    "kernel flipped": f"{LAYER}.conv2: weight flipped:",
    "kernel transposed": "features.conv0: weight height and width exchanged:",
    "batch norm and ReLU swapped": "before features.transition1.norm: the ReLU comes before the batch norm, not behind",
    "last ReLU missing": "before pool: no ReLU:",
    "convolution biased": "features.conv0: a bias that the network has not:",
    "compression rounded up": "compression 0.45 expected, 0.5 found",
    "squeeze-and-excitation one channel wider": "features.se.fc1: weight (9, 19) expected, (10, 19) found",
    "squeeze-and-excitation after the norm": "features.norm5 runs before features.se.fc2, it should run behind it",
    "squeezed by the maximum": "features.se.pool: maximum in place of mean:",
    "running variance not loaded": "features.norm5: running_var not loaded: it is all 1:",
    "weights of neighbours exchanged": f"{LAYER}.conv2: weight is that of {LAYER.replace('layer1', 'layer2')}.conv2:",
    "scale and shift exchanged": "features.norm0: scale and shift exchanged:",
    "training mode left on": "features.norm5: the batch's statistics: training mode is on:",
    "channels last flattened as channels first": "before classifier.fc1: flattened as (H, W, C):",
    "projection missing": "layer1: the shortcut is not projected:",
    "residual added after the ReLU": "layer1: the ReLU comes before the sum:",
    "Inception branches in another order": "a: branches in the order 1, 3, 2, 4:",
}
KERAS = {"ceil_mode": "features.transition1.pool: padded by 0 and 1 pixels:"}  # as Keras does it, by padding="same"
TRAINING = {"momentum swapped", "skip connection detached", "gradient of one parameter dropped"}


def diagnosed(mutant: Mutant, name: str, dtype: str = "float32") -> Diagnosis:
    """A model with the fault, diagnosed; where its weights are spoiled, as what a file should have given it."""
    backend = require(name)
    model = backend.build(mutant.nodes(mutant.network) if mutant.nodes else mutant.network, dtype=dtype)
    if hasattr(model, "initialize"):
        model.initialize()
    if mutant.fault:
        getattr(importlib.import_module(f"tests.faults.{name}"), mutant.fault)(model)
    if not mutant.weights:
        return diagnose(model, mutant.network)
    right = spec.randomize(spec.initialize(mutant.network, 0, dtype=np.dtype(dtype).type), 0)
    spoiled = dict(right)
    mutant.weights(spoiled)
    backend.load_weights(model, {name: np.ascontiguousarray(array) for name, array in spoiled.items()})
    return diagnose(model, mutant.network, right)


@pytest.mark.parametrize("mutant", SAID)
def test_the_right_layer_and_cause_come_first(mutant, backend_name):
    """In float64 where the fault of one backend shows only there."""
    found = diagnosed(MUTANTS[mutant], backend_name, "float64" if mutant == "max pool over zeros" else "float32")
    said = KERAS.get(mutant, SAID[mutant]) if backend_name == "keras" else SAID[mutant]
    assert not found.agrees
    assert to_text(found).splitlines()[1].strip().startswith(said)
    assert all(each.causes and each.after < 1e-5 for each in found.findings)


def test_all_mutants_have_their_cause():
    assert SAID.keys() | TRAINING == MUTANTS.keys()


@pytest.mark.parametrize("case", [*SMALL, *CLASSIC])
def test_a_sound_model_departs_in_nothing(case, backend_name):
    network = (SMALL | CLASSIC)[case]
    if network.num_classes is None:
        pytest.skip("has no classifier")
    model = require(backend_name).build(network)
    if hasattr(model, "initialize"):
        model.initialize()
    found = diagnose(model, network, training=backend_name != "keras" or chosen_by_keras() != "jax")
    assert found.agrees, to_text(found)
    assert (found.notes, found.unmatched) == ((), ())
    assert found.difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("variant", spec.names())
def test_every_variant_departs_in_nothing(variant, backend_name):
    """At its published size; in PyTorch, the fastest, in training too, which takes up to 10 GB."""
    network = spec.variant(variant)
    model = require(backend_name).build(network)
    if hasattr(model, "initialize"):
        model.initialize()
    found = diagnose(model, network, training=backend_name == "torch")
    assert found.agrees, to_text(found)
    assert found.notes == ()


def test_a_model_has_its_own_weights_and_modes_again(backend_name):
    backend, network = require(backend_name), small(bn_size=4, compression=0.5, **squeezed("final"))
    model = backend.build(network)
    weights = spec.randomize(spec.initialize(network, 3), 3)
    backend.load_weights(model, weights)
    images = np.random.default_rng(0).normal(size=(2, *network.input_shape)).astype("float32")
    before = backend.predict(model, images)
    diagnose(model, network)
    assert all(np.array_equal(array, weights[name]) for name, array in backend.export_weights(model).items())
    assert np.array_equal(backend.predict(model, images), before)
