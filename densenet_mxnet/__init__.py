"""DenseNet in MXNet Gluon, built from the spec."""

from densenet_mxnet import compat  # noqa: F401 (first: MXNet cannot be imported without it)
from densenet_mxnet.executors import EXECUTORS
from densenet_mxnet.files import from_file, save
from densenet_mxnet.interop import RUNNING_UPDATE, export_weights, load_weights, loss_and_gradients, predict, trace
from densenet_mxnet.model import ConvNet, build, device
from densenet_mxnet.train import (
    export_velocities,
    freeze,
    load_velocities,
    seed_dropout,
    set_learning_rate,
    sgd,
    step,
)
from densenet_mxnet.variants import *  # noqa: F403
from densenet_mxnet.variants import __all__ as _variants

__all__ = [
    "EXECUTORS",
    "RUNNING_UPDATE",
    "ConvNet",
    "build",
    "device",
    "export_velocities",
    "export_weights",
    "freeze",
    "from_file",
    "load_velocities",
    "load_weights",
    "loss_and_gradients",
    "predict",
    "save",
    "seed_dropout",
    "set_learning_rate",
    "sgd",
    "step",
    "trace",
    *_variants,
]
