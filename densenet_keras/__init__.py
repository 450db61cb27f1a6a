"""DenseNet in Keras 3, built from the spec."""

from densenet_keras import compat  # noqa: F401 (first: on PyTorch Keras builds no dotted names without it)
from densenet_keras.applications import decode_predictions, preprocess_input
from densenet_keras.executors import EXECUTORS
from densenet_keras.files import from_file, save
from densenet_keras.interop import RUNNING_UPDATE, export_weights, load_weights, loss_and_gradients, predict, trace
from densenet_keras.model import build, device
from densenet_keras.train import (
    export_velocities,
    freeze,
    load_velocities,
    seed_dropout,
    set_learning_rate,
    sgd,
    step,
)
from densenet_keras.variants import *  # noqa: F403
from densenet_keras.variants import __all__ as _variants

__all__ = [
    "EXECUTORS",
    "RUNNING_UPDATE",
    "build",
    "decode_predictions",
    "device",
    "export_velocities",
    "export_weights",
    "freeze",
    "from_file",
    "load_velocities",
    "load_weights",
    "loss_and_gradients",
    "predict",
    "preprocess_input",
    "save",
    "seed_dropout",
    "set_learning_rate",
    "sgd",
    "step",
    "trace",
    *_variants,
]
