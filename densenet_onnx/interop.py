"""NumPy in, NumPy out: weights, inference, and every layer's output; of gradients there are none."""

from typing import NoReturn

import numpy as np
from onnx import numpy_helper

import spec
from densenet_onnx import engines
from densenet_onnx.model import INPUT, ConvNet
from spec.threads import one_at_a_time
from spec.tree import Node, through

RUNNING_UPDATE = spec.RunningUpdate()  # of no training pass


@one_at_a_time
def load_weights(model: ConvNet, weights: spec.Weights) -> None:
    """Assigns {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    initializers = model.proto.graph.initializer
    spec.check_weights(weights, {tensor.name: tuple(tensor.dims) for tensor in initializers}, model.dtype)
    for tensor in initializers:
        tensor.raw_data = weights[tensor.name].tobytes()
    model.engines.clear()


@one_at_a_time
def export_weights(model: ConvNet) -> spec.Weights:
    """{canonical name: array} of every parameter and buffer."""
    model.check_values()
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.proto.graph.initializer}


@one_at_a_time
def predict(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit.

    By ONNX Runtime; in float64, in which that has no convolution, by onnx.reference.
    """
    engine = engines.runtime if model.dtype == "float32" else engines.reference
    return model.compiled(engine)(to_input(model, images))[0]


@one_at_a_time
def trace(model: ConvNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    x, tensors = to_input(model, images), _tensors(model)
    names = list(dict.fromkeys(tensors.values()))
    model.check_values()
    if model.dtype == "float32":
        found = engines.runtime_as_written(engines.with_outputs(model.proto, names))(x)
    else:
        found = model.compiled(engines.reference)(x, names)
    outputs = dict(zip(names, found))
    return {path: outputs[name] for path, name in tensors.items()}


def loss_and_gradients(model: ConvNet, images: np.ndarray, labels: np.ndarray) -> NoReturn:
    """Raises SpecError, as do all functions of training."""
    refuse_training()


def to_input(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) in the model's dtype; raises SpecError for ones that do not fit."""
    model.network.check_images(images)
    return np.ascontiguousarray(images, model.dtype)


def refuse_training() -> NoReturn:
    """Raises SpecError: what would have to be trained is elsewhere."""
    raise spec.SpecError(
        "densenet_onnx runs networks and trains none: train in torch, mxnet, keras or numpy, and load the weights here"
    )


def _tensors(model: ConvNet) -> dict[str, str]:
    """{path: the tensor that is its output}: its operator's, or, where it has none, its end's."""
    outputs = {node.name: node.output[0] for node in model.proto.graph.node}
    found: dict[str, str] = {}

    def combine(path: str, node: Node, ends: list[str]) -> str:
        found[path] = outputs.get(path, ends[0])
        return found[path]

    through(model.network.root, INPUT, combine)
    del found[""]  # the root's, which has no name
    return found
