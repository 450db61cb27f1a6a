"""The spec, executed by NumPy: the oracle, with no framework under it.

Slow and plain on purpose. It has the functions of a backend, in the same order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from spec import layers
from spec.blocks import DenseLayer, Inception, Node, Residual, SqueezeExcitation, branches
from spec.errors import SpecError
from spec.network import Network
from spec.parameters import Weights, is_buffer, shapes
from spec.running import RunningUpdate
from spec.weights import check_weights

Trace = dict[str, np.ndarray]

RUNNING_UPDATE = RunningUpdate()
EXECUTORS: dict[str, Callable[..., np.ndarray]] = {}


@dataclass
class Reference:
    """A network with its weights, all of one dtype."""

    network: Network
    dtype: str
    weights: Weights = field(default_factory=dict)


@dataclass
class Pass:
    """What one run through a network reads and records.

    In training mode batch norms use the batch's own statistics and put the updated running ones into
    `statistics`, with the biased variance (1/n), as Gluon and Keras do. `ends` has, for each node, what
    its branches put out.
    """

    weights: Weights
    training: bool = False
    outputs: Trace = field(default_factory=dict)
    ends: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    statistics: Weights = field(default_factory=dict)


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
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit."""
    model.network.check_images(images)
    return forward(model.network.root, "", images.astype(model.dtype), _pass(model))


def trace(model: Reference, images: np.ndarray) -> Trace:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    model.network.check_images(images)
    run = _pass(model)
    forward(model.network.root, "", images.astype(model.dtype), run, record=True)
    return run.outputs


def loss_and_gradients(model: Reference, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights, Weights]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,); dropout is left out.

    Returns the loss, {name: gradient} of every parameter and of the "input", and {name: array} of the
    running statistics as the pass would leave them. The model itself is unchanged.
    """
    from spec.reference.backward import backward  # it stands on this module

    run = _pass(model, training=True)
    loss, of_logits = _cross_entropy(model, images, labels, run, record=True)
    gradients: Weights = {}
    of_input = backward(model.network.root, "", of_logits, run, gradients)
    ordered = {name: gradients[name] for name in model.weights if not is_buffer(name)}
    return loss, ordered | {"input": of_input}, run.statistics


def training_loss(model: Reference, images: np.ndarray, labels: np.ndarray) -> float:
    """The loss of loss_and_gradients alone."""
    return _cross_entropy(model, images, labels, _pass(model, training=True))[0]


def _cross_entropy(
    model: Reference, images: np.ndarray, labels: np.ndarray, run: Pass, record: bool = False
) -> tuple[float, np.ndarray]:
    """The mean cross-entropy, and its gradient by the logits (N, num_classes)."""
    model.network.check_batch(images, labels)
    logits = forward(model.network.root, "", images.astype(model.dtype), run, record)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    picked = np.eye(model.network.num_classes, dtype=logits.dtype)[labels]
    loss = -(log_probabilities * picked).sum(axis=1).mean()
    return float(loss), (np.exp(log_probabilities) - picked) / len(labels)


def _pass(model: Reference, training: bool = False) -> Pass:
    if not model.weights:
        raise SpecError("the reference has no weights yet: call load_weights first")
    return Pass(model.weights, training)


def forward(node: Node, path: str, x: np.ndarray, run: Pass, record: bool = False) -> np.ndarray:
    """Runs each of a node's branches on `x`, then what the node itself does with what they put out."""
    ends = []
    for chain in branches(node):
        end = x
        for name, child in chain:
            end = forward(child, f"{path}.{name}" if path else name, end, run, record)
        ends.append(end)
    out = apply(node, *ends, run=run, path=path)
    if record:
        run.ends[path] = tuple(ends)
        if path:
            run.outputs[path] = out
    return out


@singledispatch
def apply(node: Node, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    """What `node` makes of the outputs of its branches; for a leaf that is its input."""
    return x


@apply.register
def _(node: DenseLayer, x: np.ndarray, new: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return np.concatenate([x, new], axis=1)  # (N, C + k, H, W)


@apply.register
def _(node: SqueezeExcitation, x: np.ndarray, gate: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return x * gate[:, :, None, None]  # (N, C, H, W) * (N, C, 1, 1)


@apply.register
def _(node: Residual, branch: np.ndarray, shortcut: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return np.maximum(branch + shortcut, 0)


@apply.register
def _(node: Inception, *ends: np.ndarray, run: Pass, path: str) -> np.ndarray:
    return np.concatenate(ends, axis=1)  # (N, out_channels, H, W)


@apply.register
def _(node: layers.Conv, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    kernel = run.weights[f"{path}.weight"].reshape(node.out_channels, -1).T  # (C*k*k, O)
    patches = patches_of(padded(x, node.padding, 0), node.kernel_size, node.stride)
    maps = [image @ kernel for image in patches]
    out = np.stack(maps).transpose(0, 3, 1, 2)  # (N, H', W', O) -> (N, O, H', W')
    return out + per_channel(run.weights[f"{path}.bias"]) if node.bias else out


@apply.register
def _(node: layers.BatchNorm, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    mean, var = (run.weights[f"{path}.{name}"] for name in ("running_mean", "running_var"))
    if run.training:
        batch = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        run.statistics[f"{path}.running_mean"] = node.decay * mean + (1 - node.decay) * batch[0]
        run.statistics[f"{path}.running_var"] = node.decay * var + (1 - node.decay) * batch[1]
        mean, var = batch
    scale, shift = (run.weights[f"{path}.{name}"] for name in ("weight", "bias"))
    return (x - per_channel(mean)) / np.sqrt(per_channel(var) + node.eps) * per_channel(scale) + per_channel(shift)


@apply.register
def _(node: layers.ReLU, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return np.maximum(x, 0)


@apply.register
def _(node: layers.Sigmoid, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@apply.register
def _(node: layers.MaxPool, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return windows_of(padded(x, node.padding, -np.inf), node.kernel_size, node.stride).max(axis=(4, 5))


@apply.register
def _(node: layers.AvgPool, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return windows_of(x, node.kernel_size, node.stride).mean(axis=(4, 5))


@apply.register
def _(node: layers.GlobalAvgPool, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return x.mean(axis=(2, 3), keepdims=True)


@apply.register
def _(node: layers.Flatten, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return x.reshape(len(x), -1)


@apply.register
def _(node: layers.Linear, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    out = x @ run.weights[f"{path}.weight"].T
    return out + run.weights[f"{path}.bias"] if node.bias else out


@apply.register
def _(node: layers.Softmax, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def per_channel(vector: np.ndarray) -> np.ndarray:
    """(C,) -> (C, 1, 1), which broadcasts over maps."""
    return vector[:, None, None]


def padded(x: np.ndarray, padding: int, value: float) -> np.ndarray:
    """Height and width padded by `padding` on every side."""
    sides = (padding, padding)
    return np.pad(x, ((0, 0), (0, 0), sides, sides), constant_values=value) if padding else x


def windows_of(x: np.ndarray, kernel_size: int, stride: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, H', W', k, k), a view."""
    windows = sliding_window_view(x, (kernel_size, kernel_size), axis=(2, 3))  # type: ignore[call-overload]
    return windows[:, :, ::stride, ::stride]


def patches_of(x: np.ndarray, kernel_size: int, stride: int) -> Iterator[np.ndarray]:
    """One image at a time, to bound memory: (H', W', C*k*k), in the order of a flattened kernel."""
    for image in windows_of(x, kernel_size, stride):
        height, width = image.shape[1:3]
        yield image.transpose(1, 2, 0, 3, 4).reshape(height, width, -1)
