"""DenseNet in PyTorch, built from the spec."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "densenet_torch needs PyTorch, which is not installed: pip install 'densenet-reference[torch]'"
    ) from error

from densenet_torch.executors import EXECUTORS
from densenet_torch.files import from_file, save
from densenet_torch.fusion import fused
from densenet_torch.interop import RUNNING_UPDATE, export_weights, load_weights, loss_and_gradients, predict, trace
from densenet_torch.model import ConvNet, build, device
from densenet_torch.train import (
    export_velocities,
    freeze,
    load_velocities,
    seed_dropout,
    set_learning_rate,
    sgd,
    step,
)
from densenet_torch.variants import *  # noqa: F403
from densenet_torch.variants import __all__ as _variants

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
    "fused",
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
