"""The spec, executed and differentiated by NumPy: the oracle, with no framework under it.

Slow and plain on purpose. It has the functions of a backend, in the same order.
"""

from spec.reference.interop import (
    EXECUTORS,
    RUNNING_UPDATE,
    Reference,
    build,
    export_weights,
    load_weights,
    loss_and_gradients,
    predict,
    trace,
    training_loss,
)
from spec.reference.train import set_learning_rate, sgd, step

__all__ = [
    "EXECUTORS",
    "RUNNING_UPDATE",
    "Reference",
    "build",
    "export_weights",
    "load_weights",
    "loss_and_gradients",
    "predict",
    "set_learning_rate",
    "sgd",
    "step",
    "trace",
    "training_loss",
]
