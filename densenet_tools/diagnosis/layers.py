"""A layer as the network has it, and as a model may have it instead: settings, and what the layer makes of them."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np

from densenet_tools.diagnosis import operations
from densenet_tools.diagnosis.operations import Arrays
from spec.layers import AvgPool, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool
from spec.tree import Node

Settings = dict[str, Any]
AS_IT_IS = "as it is"
KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_IT_IS: lambda kernel: kernel,
    "flipped": lambda kernel: kernel[:, :, ::-1, ::-1],
    "height and width exchanged": lambda kernel: kernel.swapaxes(2, 3),
    "flipped, height and width exchanged": lambda kernel: kernel.swapaxes(2, 3)[:, :, ::-1, ::-1],
    "rows flipped": lambda kernel: kernel[:, :, ::-1],
    "columns flipped": lambda kernel: kernel[:, :, :, ::-1],
    "inputs and outputs exchanged": lambda kernel: kernel.swapaxes(0, 1),
    "input channels reversed": lambda kernel: kernel[:, ::-1],
    "output channels reversed": lambda kernel: kernel[::-1],
    "axes (h, w, in, out) read as (out, in, h, w)": lambda kernel: _reread(kernel, (2, 3, 1, 0)),
    "axes (out, in, h, w) read as (h, w, in, out)": lambda kernel: _written(kernel, (2, 3, 1, 0)),
}
MATRICES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_IT_IS: lambda matrix: matrix,
    "transposed": lambda matrix: matrix.T if matrix.shape[0] == matrix.shape[1] else matrix.T.reshape(matrix.shape),
    "(in, out) read as (out, in)": lambda matrix: _reread(matrix, (1, 0)),
    "(out, in) read as (in, out)": lambda matrix: _written(matrix, (1, 0)),
    "outputs reversed": lambda matrix: matrix[::-1],
}


@singledispatch
def settings_of(node: Node) -> Settings:
    """What the network's layer computes with; `computed` takes it, or something else in its place."""
    raise TypeError(f"densenet diagnose cannot replay {node!r}: register its settings_of")


@singledispatch
def computed(node: Node, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    """What a layer makes of its input `x` with the arrays that a model has and with these settings."""
    raise TypeError(f"densenet diagnose cannot replay {node!r}: register what is computed")


@settings_of.register
def _(node: Conv) -> Settings:
    one, p = (1, 1), node.padding
    windows = {"stride": (node.stride, node.stride), "padding": ((p, p), (p, p)), "dilation": one, "groups": 1}
    return {**windows, "kernel": AS_IT_IS, "bias": node.bias}


@computed.register
def _(node: Conv, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    weight = own["weight"] if own["weight"].ndim == 4 else own["weight"][:, :, None, None]
    arrays = {"weight": KERNELS[settings["kernel"]](weight), **_bias(own, settings)}
    windows = {name: settings[name] for name in ("stride", "padding", "dilation", "groups")}
    return operations.conv(x, arrays, **windows)


@settings_of.register
def _(node: BatchNorm) -> Settings:
    names = {"scale": "weight", "shift": "bias"}
    return {"eps": node.eps, "statistics": "running", "deviation": "sqrt(var + eps)", **names}


@computed.register
def _(node: BatchNorm, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    arrays = {name: own[name] for name in ("running_mean", "running_var") if name in own}
    for last, taken in (("weight", settings["scale"]), ("bias", settings["shift"])):
        if taken in own:
            arrays[last] = own[taken]
    numbers = {name: settings[name] for name in ("eps", "statistics", "deviation")}
    return operations.batch_norm(x, arrays, **numbers)


@settings_of.register
def _(node: Linear) -> Settings:
    return {"kernel": AS_IT_IS, "bias": node.bias}


@computed.register
def _(node: Linear, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    weight = MATRICES[settings["kernel"]](own["weight"].reshape(len(own["weight"]), -1))
    return operations.linear(x, {"weight": weight, **_bias(own, settings)})


@settings_of.register
def _(node: MaxPool) -> Settings:
    p = node.padding
    return {"kind": "max", **_windows(node), "padding": ((p, p), (p, p)), "padded_with": "nothing", "ceil_mode": False}


@settings_of.register
def _(node: AvgPool) -> Settings:
    return {"kind": "mean", **_windows(node), "padding": ((0, 0), (0, 0)), "padded_with": "nothing", "ceil_mode": False}


@computed.register(MaxPool)
@computed.register(AvgPool)
def _(node: Node, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    return operations.pool(x, **settings)


@settings_of.register
def _(node: GlobalAvgPool) -> Settings:
    return {"kind": "mean", "kernel_size": None, "stride": None}


@computed.register
def _(node: GlobalAvgPool, x: np.ndarray, own: Arrays, settings: Settings) -> np.ndarray:
    return operations.whole(x, kind=settings["kind"]) if not settings["kernel_size"] else operations.pool(x, **settings)


def _bias(own: Arrays, settings: Settings) -> Arrays:
    return {"bias": own["bias"]} if settings["bias"] and "bias" in own else {}


def _windows(node: MaxPool | AvgPool) -> Settings:
    return {"kernel_size": (node.kernel_size, node.kernel_size), "stride": (node.stride, node.stride)}


def _reread(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The same numbers, taken for axes in another order: as a file is read by one who forgets to transpose."""
    return np.ascontiguousarray(array.transpose(axes)).reshape(array.shape)


def _written(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The inverse of `_reread`."""
    shape = tuple(array.shape[axis] for axis in axes)
    return np.ascontiguousarray(array).reshape(shape).transpose(np.argsort(axes))
