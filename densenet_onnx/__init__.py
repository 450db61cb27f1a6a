"""DenseNet as ONNX graphs, built from the spec; inference only."""

try:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
except ImportError as error:
    raise ImportError(
        "densenet_onnx needs ONNX and ONNX Runtime, which are not installed: pip install 'densenet-reference[onnx]'"
    ) from error

from densenet_onnx.executors import EXECUTORS
from densenet_onnx.files import from_file, save
from densenet_onnx.interop import RUNNING_UPDATE, export_weights, load_weights, loss_and_gradients, predict, trace
from densenet_onnx.model import ConvNet, build, device
from densenet_onnx.train import (
    export_velocities,
    freeze,
    load_velocities,
    seed_dropout,
    set_learning_rate,
    sgd,
    step,
)
from densenet_onnx.variants import *  # noqa: F403
from densenet_onnx.variants import __all__ as _variants

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
