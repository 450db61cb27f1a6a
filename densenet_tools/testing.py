"""For test suites: that a model is the network that it should be, in one line.

from densenet_tools.testing import assert_same_network

def test_our_port():
    assert_same_network(our_package.densenet121(), "densenet121")
"""

from pathlib import Path
from typing import Any

import spec
from densenet_tools.diagnosis import diagnose, to_text


def assert_same_network(
    model: Any,
    network: str | Path | spec.Network,
    *,
    weights: str = "probe",
    seed: int = 0,
    training: bool = False,
    optimizer: Any = None,
    **overrides: Any,
) -> None:
    """Passes where a model of PyTorch, Gluon or Keras computes what the network does; else says which layer and why.

    `network` is a variant's name, a config file, a .safetensors file whose weights the model should hold, or what
    spec.variant returns; `overrides` are config fields, as `num_classes=10`. With weights="own" both compute with the
    model's, with "probe" both get the ones that show most, and the model has its own again afterwards. With `training`
    gradients and running statistics must be the same, too; with an `optimizer` of the model, the step that it makes.

    Raises AssertionError with the report of `densenet diagnose`, SpecError where the model cannot be run.
    """
    __tracebackhide__ = True  # of pytest: the report is what matters
    expected = None
    if not isinstance(network, spec.Network):
        if spec.holds_weights(str(network)):
            checkpoint = spec.open(network)
            network, expected = checkpoint.network, checkpoint.weights
        else:
            network = spec.load(str(network), **overrides)
    found = diagnose(model, network, expected, weights, seed, training, optimizer)
    if not found.agrees:
        raise AssertionError(to_text(found))
