"""One run through a network, forwards: what each node makes of what its branches put out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from spec import layers
from spec.blocks import (
    Concatenation,
    DenseBlock,
    DenseLayer,
    Inception,
    RectifiedSum,
    Residual,
    Sequential,
    SqueezeExcitation,
    Transition,
)
from spec.parameters import Weights
from spec.tree import Node, through


@dataclass
class Pass:
    """What one run through a network reads and records.

    In training mode batch norms use the batch's own statistics and put the updated running ones into
    `statistics`, with the biased variance (1/n), as Gluon and Keras do; with `frozen_statistics` they use the
    running ones there, too, which stay. With `record`, `outputs` and `ends`
    have each node's output and what its branches put out; from those backward fills `gradients`.
    """

    weights: Weights
    training: bool = False
    frozen_statistics: bool = False
    record: bool = False
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    ends: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    statistics: Weights = field(default_factory=dict)
    gradients: Weights = field(default_factory=dict)

    @property
    def batch_statistics(self) -> bool:
        """Whether batch norms use the mean and variance of the batch."""
        return self.training and not self.frozen_statistics


def forward(root: Node, x: np.ndarray, run: Pass) -> np.ndarray:
    """The network's output for a batch `x`."""

    def combine(path: str, node: Node, ends: list[np.ndarray]) -> np.ndarray:
        out = apply(node, *ends, run=run, path=path)
        if run.record:
            run.outputs[path], run.ends[path] = out, tuple(ends)
        return out

    return through(root, x, combine)


@singledispatch
def apply(node: Node, *ends: np.ndarray, run: Pass, path: str) -> np.ndarray:
    """What `node` makes of the outputs of its branches; for a leaf that is its input."""
    raise TypeError(f"spec.reference cannot run {node!r}: register what it does with apply")


@apply.register(Sequential)
@apply.register(DenseBlock)
@apply.register(Transition)
def _(node: Sequential | DenseBlock | Transition, end: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return end


@apply.register(Concatenation)
@apply.register(DenseLayer)
@apply.register(Inception)
def _(node: Concatenation | DenseLayer | Inception, *ends: np.ndarray, run: Pass, path: str) -> np.ndarray:
    return np.concatenate(ends, axis=1)  # (N, C + k, H, W), or (N, out_channels, H, W)


@apply.register(RectifiedSum)
@apply.register(Residual)
def _(node: RectifiedSum | Residual, *ends: np.ndarray, run: Pass, path: str) -> np.ndarray:
    return np.maximum(sum(ends), 0)


@apply.register
def _(node: SqueezeExcitation, x: np.ndarray, gate: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return x * gate[:, :, None, None]  # (N, C, H, W) * (N, C, 1, 1)


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
    if run.batch_statistics:
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
def _(node: layers.Dropout, x: np.ndarray, *, run: Pass, path: str) -> np.ndarray:
    return x  # in training too: masks are never the same in two frameworks


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
