"""The spec, executed by NumPy: the oracle, with no framework under it.

Slow and plain on purpose; inference only. It has the functions of a backend, in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from spec import layers
from spec.blocks import DenseLayer, Inception, Node, Residual, SqueezeExcitation, branches
from spec.errors import SpecError
from spec.network import Network
from spec.parameters import Weights, shapes
from spec.weights import check_weights

Trace = dict[str, np.ndarray]


@dataclass
class Reference:
    """A network with its weights, all of one dtype."""

    network: Network
    dtype: str
    weights: Weights = field(default_factory=dict)


def build(network: Network, dtype: str = "float64") -> Reference:
    """The network, without weights yet, computing in `dtype` ("float64" or "float32")."""
    return Reference(network, dtype)


def load_weights(model: Reference, weights: Weights) -> None:
    """Takes over {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    check_weights(weights, shapes(model.network), model.dtype)
    model.weights = {name: array.copy() for name, array in weights.items()}


def export_weights(model: Reference) -> Weights:
    """{canonical name: array} of every parameter and buffer."""
    return {name: array.copy() for name, array in model.weights.items()}


def predict(model: Reference, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) -> (N, num_classes)."""
    return _run(model, images, trace=None)


def trace(model: Reference, images: np.ndarray) -> Trace:
    """{layer name: output} of every named layer, in order; maps are (N, C, H, W)."""
    outputs: Trace = {}
    _run(model, images, outputs)
    return outputs


def _run(model: Reference, images: np.ndarray, trace: Trace | None) -> np.ndarray:
    model.network.check_images(images)
    if not model.weights:
        raise SpecError("the reference has no weights yet: call load_weights first")
    return _forward(model.network.root, "", images.astype(model.dtype), model.weights, trace)


def _forward(node: Node, path: str, x: np.ndarray, weights: Weights, trace: Trace | None) -> np.ndarray:
    """Runs each of a node's branches on `x`, then what the node itself does with what they give."""
    ends = []
    for chain in branches(node):
        end = x
        for name, child in chain:
            end = _forward(child, f"{path}.{name}" if path else name, end, weights, trace)
        ends.append(end)
    out = apply(node, *ends, weights=weights, path=path)
    if trace is not None and path:
        trace[path] = out
    return out


@singledispatch
def apply(node: Node, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    """What `node` makes of the outputs of its branches; for a leaf that is its input."""
    return x


@apply.register
def _(node: DenseLayer, x: np.ndarray, new: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return np.concatenate([x, new], axis=1)  # (N, C + k, H, W)


@apply.register
def _(node: SqueezeExcitation, x: np.ndarray, gate: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return x * gate[:, :, None, None]  # (N, C, H, W) * (N, C, 1, 1)


@apply.register
def _(node: Residual, branch: np.ndarray, shortcut: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return np.maximum(branch + shortcut, 0)


@apply.register
def _(node: Inception, *ends: np.ndarray, weights: Weights, path: str) -> np.ndarray:
    return np.concatenate(ends, axis=1)  # (N, out_channels, H, W)


@apply.register
def _(node: layers.Conv, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    kernel = weights[f"{path}.weight"].reshape(node.out_channels, -1).T  # (C*k*k, O)
    x = _padded(x, node.padding, 0)
    maps = [np.tensordot(image, kernel, axes=1) for image in _patches(x, node.kernel_size, node.stride)]
    out = np.stack(maps).transpose(0, 3, 1, 2)  # (N, H', W', O) -> (N, O, H', W')
    return out + weights[f"{path}.bias"][:, None, None] if node.bias else out


@apply.register
def _(node: layers.BatchNorm, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    scale, shift, mean, var = (
        weights[f"{path}.{name}"][:, None, None] for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + node.eps) * scale + shift


@apply.register
def _(node: layers.ReLU, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return np.maximum(x, 0)


@apply.register
def _(node: layers.Sigmoid, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@apply.register
def _(node: layers.MaxPool, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return _windows(_padded(x, node.padding, -np.inf), node.kernel_size, node.stride).max(axis=(4, 5))


@apply.register
def _(node: layers.AvgPool, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return _windows(x, node.kernel_size, node.stride).mean(axis=(4, 5))


@apply.register
def _(node: layers.GlobalAvgPool, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return x.mean(axis=(2, 3), keepdims=True)


@apply.register
def _(node: layers.Flatten, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    return x.reshape(len(x), -1)


@apply.register
def _(node: layers.Linear, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    out = x @ weights[f"{path}.weight"].T
    return out + weights[f"{path}.bias"] if node.bias else out


@apply.register
def _(node: layers.Softmax, x: np.ndarray, *, weights: Weights, path: str) -> np.ndarray:
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def _padded(x: np.ndarray, padding: int, value: float) -> np.ndarray:
    sides = (padding, padding)
    return np.pad(x, ((0, 0), (0, 0), sides, sides), constant_values=value) if padding else x


def _windows(x: np.ndarray, kernel_size: int, stride: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, H', W', k, k), a view."""
    windows = sliding_window_view(x, (kernel_size, kernel_size), axis=(2, 3))  # type: ignore[call-overload]
    return windows[:, :, ::stride, ::stride]


def _patches(x: np.ndarray, kernel_size: int, stride: int) -> Iterator[np.ndarray]:
    """One image at a time, to bound memory: (H', W', C*k*k), in the order of a flattened kernel."""
    for image in _windows(x, kernel_size, stride):
        height, width = image.shape[1:3]
        yield image.transpose(1, 2, 0, 3, 4).reshape(height, width, -1)
