"""Faults that only training shows: in gradients, running statistics and the optimizer's step."""

import importlib

import pytest

from densenet_tools.backends import chosen_by_keras
from densenet_tools.diagnosis import Diagnosis, diagnose, to_text
from spec.layers import Conv, Dropout, Flatten, GlobalAvgPool, MaxPool, ReLU
from tests.cases import SMALL, small, squeezed, tiny
from tests.diagnosis.test_diagnose import TRAINING
from tests.support import require
from tests.test_controls import MUTANTS

NETWORK = small(bn_size=4, compression=0.5, **squeezed("final"))
SAID = {
    "momentum swapped": "features.norm0 and features.norm5, running statistics: keeps 0.1 of the running statistics, "
    "0.9 expected: momentum the wrong way round:",
    "skip connection detached": "features.denseblock1.denselayer2, backward: no gradient to the channels before:",
    "gradient of one parameter dropped": "features.norm0, backward: bias gets no gradient:",
}


def trained(backend_name, model, network=NETWORK):
    """A diagnosis of training, too; on JAX nobody can see what a layer hands back."""
    if backend_name == "keras" and chosen_by_keras() == "jax":
        pytest.skip("gradients by layers need Keras on TensorFlow or PyTorch")
    return diagnose(model, network, training=True)


def built(backend_name, network=NETWORK, **settings):
    model = require(backend_name).build(network, **settings)
    if hasattr(model, "initialize"):
        model.initialize()
    return model


def first(found: Diagnosis) -> str:
    """What is said of the first finding; the model computes the same in inference, and nothing else is found."""
    assert not found.agrees
    text = to_text(found)
    assert "in inference, logits agree to" in text.splitlines()[0]
    assert all(each.causes and each.after < 1e-5 for each in found.findings), text
    return text.splitlines()[1].strip()


@pytest.mark.parametrize("mutant", SAID)
def test_the_right_layer_and_cause_come_first(mutant, backend_name):
    fault = MUTANTS[mutant]
    model = built(backend_name, fault.nodes(fault.network) if fault.nodes else fault.network)
    if fault.fault:
        getattr(importlib.import_module(f"tests.faults.{backend_name}"), fault.fault)(model)
    if fault.gradients:
        require(backend_name).freeze(model, ["features.norm0.bias"])
    assert first(trained(backend_name, model, fault.network)).startswith(SAID[mutant])


def test_all_mutants_that_inference_does_not_show_have_their_cause():
    assert SAID.keys() == TRAINING


def test_a_fault_of_inference_hides_none_of_training(backend_name):
    network = MUTANTS["epsilon 1e-3"].nodes(MUTANTS["momentum swapped"].nodes(NETWORK))
    text = to_text(trained(backend_name, built(backend_name, network)))
    assert "features.norm0 and features.norm5: eps 0.001:" in text
    assert SAID["momentum swapped"] in text


def test_in_float64_gradients_agree_to_its_rounding(backend_name):
    found = trained(backend_name, built(backend_name, dtype="float64"))
    assert found.agrees, to_text(found)
    assert found.training["gradients"] < 1e-12
    assert found.training["running statistics"] < (1e-7 if backend_name == "mxnet" else 1e-12)  # its decay is a float32


# Behind a pool of what ReLU made zero: of those values nobody sees what the dropout did with them.
BEHIND_ZEROS = tiny(
    8,
    ("conv1", Conv(3, 4, kernel_size=3, stride=1, padding=1, bias=True)),
    ("relu1", ReLU()),
    ("pool1", MaxPool(kernel_size=2, stride=2, padding=0)),
    ("dropout", Dropout(rate=0.5)),
    ("conv2", Conv(4, 5, kernel_size=1, stride=1, padding=0, bias=True)),
    ("pool", GlobalAvgPool()),
    ("flatten", Flatten()),
)


@pytest.mark.parametrize("network", [SMALL["dropout"], BEHIND_ZEROS], ids=["dropout", "behind zeros"])
def test_dropout_counts_with_its_own_masks(network, backend_name):
    found = trained(backend_name, built(backend_name, network), network)
    assert found.agrees, to_text(found)
    assert found.training["gradients"] < 1e-5


@pytest.mark.parametrize(
    ("learning_rate", "momentum", "nesterov", "weight_decay"),
    [(0.1, 0.9, True, 1e-4), (0.01, 0.0, False, 0.0), (1e-3, 0.9, False, 5e-4)],
)
def test_the_descent_of_a_backend_is_found(learning_rate, momentum, nesterov, weight_decay, backend_name):
    model = built(backend_name)
    diagnose(model, NETWORK)  # builds it
    optimizer = require(backend_name).sgd(model, learning_rate, momentum, nesterov, weight_decay)
    right = {
        "learning_rate": learning_rate,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
    }
    found = diagnose(model, NETWORK, optimizer=optimizer, settings=right)
    assert found.agrees, to_text(found)
    wrong = diagnose(model, NETWORK, optimizer=require(backend_name).sgd(model, 0.02, 0.8), settings=right)
    assert "optimizer step: learning_rate 0.02, " in to_text(wrong)
    assert "optimizer step: momentum 0.8, " in to_text(wrong)
