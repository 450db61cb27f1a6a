"""The reference's gradients: what each node hands back to its branches, and to its parameters.

Plain calculus on what the forward pass recorded, in training mode, with no framework and no automatic
differentiation under it.
"""

from functools import singledispatch
from itertools import product

import numpy as np

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
from spec.reference.forward import Pass, apply, padded, patches_of, per_channel, windows_of
from spec.tree import Node, join

Gradients = tuple[np.ndarray, ...]


def backward(node: Node, path: str, gradient: np.ndarray, run: Pass) -> np.ndarray:
    """The loss's gradient by a node's input, given that by its output; its parameters' go into `run.gradients`."""
    of_input: np.ndarray | float = 0.0
    handed_back = pullback(node, gradient, *run.ends[path], run=run, path=path)
    for chain, end in zip(node.branches, handed_back, strict=True):
        for name, child in reversed(chain):
            end = backward(child, join(path, name), end, run)
        of_input = of_input + end
    return np.asarray(of_input)


@singledispatch
def pullback(node: Node, gradient: np.ndarray, *ends: np.ndarray, run: Pass, path: str) -> Gradients:
    """The gradient by each of `ends`, what the node's branches put out; for a leaf, by its input."""
    raise TypeError(f"spec.reference cannot differentiate {node!r}: register its pullback")


@pullback.register(Sequential)
@pullback.register(DenseBlock)
@pullback.register(Transition)
@pullback.register(layers.Dropout)
def _(node: Node, gradient: np.ndarray, *ends: np.ndarray, **_: object) -> Gradients:
    return (gradient,)


@pullback.register(Concatenation)
@pullback.register(DenseLayer)
@pullback.register(Inception)
def _(node: Node, gradient: np.ndarray, *ends: np.ndarray, **_: object) -> Gradients:
    borders = np.cumsum([end.shape[1] for end in ends])[:-1]
    return tuple(np.split(gradient, borders, axis=1))


@pullback.register(RectifiedSum)
@pullback.register(Residual)
def _(node: Node, gradient: np.ndarray, *ends: np.ndarray, **_: object) -> Gradients:
    return (gradient * (sum(ends) > 0),) * len(ends)


@pullback.register
def _(node: SqueezeExcitation, gradient: np.ndarray, x: np.ndarray, gate: np.ndarray, **_: object) -> Gradients:
    return gradient * gate[:, :, None, None], (gradient * x).sum(axis=(2, 3))


@pullback.register
def _(node: layers.Conv, gradient: np.ndarray, x: np.ndarray, *, run: Pass, path: str) -> Gradients:
    kernel = run.weights[f"{path}.weight"]
    flat = kernel.reshape(node.out_channels, -1)  # (O, C*k*k)
    pixels = gradient.transpose(0, 2, 3, 1)  # (N, H', W', O)
    x = padded(x, node.padding, 0)
    patches = patches_of(x, node.kernel_size, node.stride)  # (H', W', C*k*k) of each image
    of_kernel = sum(np.tensordot(out, patch, axes=((0, 1), (0, 1))) for out, patch in zip(pixels, patches))
    run.gradients[f"{path}.weight"] = np.asarray(of_kernel).reshape(kernel.shape)
    if node.bias:
        run.gradients[f"{path}.bias"] = gradient.sum(axis=(0, 2, 3))
    of_windows = (pixels @ flat).reshape(*pixels.shape[:3], *kernel.shape[1:])  # (N, H', W', C, k, k)
    return (_scattered(of_windows.transpose(0, 3, 1, 2, 4, 5), x, node.stride, node.padding),)


@pullback.register
def _(node: layers.BatchNorm, gradient: np.ndarray, x: np.ndarray, *, run: Pass, path: str) -> Gradients:
    mean, var = (run.weights[f"{path}.{name}"] for name in ("running_mean", "running_var"))
    if run.batch_statistics:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    deviation = np.sqrt(var + node.eps)
    normalized = (x - per_channel(mean)) / per_channel(deviation)
    of_shift, of_scale = gradient.sum(axis=(0, 2, 3)), (gradient * normalized).sum(axis=(0, 2, 3))
    run.gradients[f"{path}.weight"], run.gradients[f"{path}.bias"] = of_scale, of_shift
    if run.batch_statistics:  # which depend on x, too
        gradient = gradient - (per_channel(of_shift) + normalized * per_channel(of_scale)) / (x.size // x.shape[1])
    return (per_channel(run.weights[f"{path}.weight"] / deviation) * gradient,)


@pullback.register
def _(node: layers.ReLU, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    return (gradient * (x > 0),)


@pullback.register
def _(node: layers.Sigmoid, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    out = 1 / (1 + np.exp(-x))
    return (gradient * out * (1 - out),)


@pullback.register
def _(node: layers.MaxPool, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    x = padded(x, node.padding, -np.inf)
    windows = windows_of(x, node.kernel_size, node.stride)  # (N, C, H', W', k, k)
    flat = windows.reshape(*windows.shape[:4], -1)
    largest = np.arange(flat.shape[-1]) == flat.argmax(axis=-1)[..., None]
    of_windows = (gradient[..., None] * largest).reshape(windows.shape)
    return (_scattered(of_windows, x, node.stride, node.padding),)


@pullback.register
def _(node: layers.AvgPool, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    k = node.kernel_size
    of_windows = np.broadcast_to(gradient[..., None, None] / k**2, (*gradient.shape, k, k))
    return (_scattered(of_windows, x, node.stride, 0),)


@pullback.register
def _(node: layers.GlobalAvgPool, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    return (np.broadcast_to(gradient / (x.shape[2] * x.shape[3]), x.shape),)


@pullback.register
def _(node: layers.Flatten, gradient: np.ndarray, x: np.ndarray, **_: object) -> Gradients:
    return (gradient.reshape(x.shape),)


@pullback.register
def _(node: layers.Linear, gradient: np.ndarray, x: np.ndarray, *, run: Pass, path: str) -> Gradients:
    run.gradients[f"{path}.weight"] = gradient.T @ x
    if node.bias:
        run.gradients[f"{path}.bias"] = gradient.sum(axis=0)
    return (gradient @ run.weights[f"{path}.weight"],)


@pullback.register
def _(node: layers.Softmax, gradient: np.ndarray, x: np.ndarray, *, run: Pass, path: str) -> Gradients:
    out = apply(node, x, run=run, path=path)
    return (out * (gradient - (gradient * out).sum(axis=1, keepdims=True)),)


def _scattered(of_windows: np.ndarray, padded_x: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Adds (N, C, H', W', k, k), the gradients by each window, up to one by the map, and crops the padding."""
    height, width, k = *of_windows.shape[2:4], of_windows.shape[4]
    out = np.zeros_like(padded_x)
    for i, j in product(range(k), range(k)):
        out[:, :, i : i + stride * height : stride, j : j + stride * width : stride] += of_windows[..., i, j]
    return out[:, :, padding : out.shape[2] - padding, padding : out.shape[3] - padding]
