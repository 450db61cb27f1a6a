"""DenseNet in PyTorch, built from the spec."""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "densenet_torch needs PyTorch, which is not installed: pip install 'densenet-reference[torch]'"
    ) from error

from densenet_torch.executors import EXECUTORS
from densenet_torch.files import from_file, save
from densenet_torch.interop import RUNNING_UPDATE, export_weights, load_weights, loss_and_gradients, predict, trace
from densenet_torch.model import ConvNet, build
from densenet_torch.train import set_learning_rate, sgd, step
from densenet_torch.variants import *  # noqa: F403
from densenet_torch.variants import __all__ as _variants

__all__ = [
    "EXECUTORS",
    "RUNNING_UPDATE",
    "ConvNet",
    "build",
    "export_weights",
    "from_file",
    "load_weights",
    "loss_and_gradients",
    "predict",
    "save",
    "set_learning_rate",
    "sgd",
    "step",
    "trace",
    *_variants,
]
