"""What Keras' operations are called in spec.recording, and with which settings."""

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from densenet_keras.interop import array_of

Settings = dict[str, Any]
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # NHWC -> NCHW and back


class Symbol(keras.KerasTensor):
    """What Keras takes for a symbolic tensor, though it has a value: that of a call, by its number."""

    def __init__(self, tensor: Any, number: int, last: bool) -> None:
        super().__init__(tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
        self.real, self.number, self.version = tensor, number, version(tensor)
        self.last = last  # whether channels come last, where there are height and width

    # A mask is no feature map: real, as an `if` may depend on it.
    def __lt__(self, other: Any) -> Any:
        return self.real < real(other)

    def __le__(self, other: Any) -> Any:
        return self.real <= real(other)

    def __gt__(self, other: Any) -> Any:
        return self.real > real(other)

    def __ge__(self, other: Any) -> Any:
        return self.real >= real(other)


Describe = Callable[[Settings, Symbol, Any], tuple[str, Settings]]


def real(values: Any) -> Any:
    """A structure with the tensors behind its symbols."""
    return keras.tree.map_structure(lambda each: each.real if isinstance(each, Symbol) else each, values)


def version(tensor: Any) -> int:
    """How often it was written to, which only PyTorch allows."""
    return getattr(tensor, "_version", 0)


def described(operation: Any, a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    """The kind and settings of an operation that made a tensor of `x`, its first.

    `a` has its attributes and the arguments that it was called with, the "layer" that called it, and the mean of the
    batch that a layer of batch norm has taken last, "batch_mean".
    """
    return KINDS.get(keras_class(operation).__name__, _plain("other"))(a, x, made)


def channels_last(operation: Any, a: Settings, x: Symbol, default: bool) -> bool:
    """Whether what it made has its channels last, if it has height and width."""
    name, last = keras_class(operation).__name__, x.last if x.ndim == 4 else default
    if name in AXES:
        axes = AXES[name](a, x.ndim)
        return (last and axes != TO_FIRST) or axes == TO_LAST
    return a["data_format"] == "channels_last" if a.get("data_format") else last


def keras_class(operation: Any) -> type:
    """The class of Keras' own that an operation or layer is of, or that its class was derived from."""
    return next(each for each in type(operation).__mro__ if each.__module__.startswith("keras."))


def text_of(operation: Any) -> str:
    """layers.Conv2D, ops.max_pool, activations.relu, or the name of a stranger's class."""
    name, module = type(operation).__name__, type(operation).__module__
    if not module.startswith("keras."):
        return name
    if isinstance(operation, keras.Layer):
        return f"layers.{name}"
    room = "activations" if ".activations." in module else "ops"
    return f"{room}.{re.sub('(?<=[a-z0-9])(?=[A-Z][a-z])', '_', name).lower()}"


def nchw(array: np.ndarray, last: bool) -> np.ndarray:
    """A feature map as (N, C, H, W); anything else as it is."""
    return np.ascontiguousarray(array.transpose(TO_FIRST)) if array.ndim == 4 and last else array


def _conv(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    if x.ndim != 4:
        return "other", {}
    kernel, stride, dilation = a["kernel"], _two(a["strides"]), _two(a["dilation_rate"])  # HWIO
    return "conv", {
        "stride": stride,
        "padding": _padding(a, x, kernel.shape[:2], stride, dilation),
        "dilation": dilation,
        "groups": x.shape[-1 if a["data_format"] == "channels_last" else 1] // kernel.shape[2],
    }


def _depthwise_conv(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    kind, settings = _conv(a, x, made)
    return kind, settings | ({"groups": a["kernel"].shape[2]} if kind == "conv" else {})


def _norm(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    """Of Keras' layer, which casts its variables before, or by the running statistics of a stranger's."""
    layer, running = a["layer"], all(isinstance(a[name], keras.Variable) for name in ("mean", "variance"))
    known = not layer.renorm if isinstance(layer, keras.layers.BatchNormalization) else running
    if not known or _axis(a["axis"], x) != 1:
        return "other", {}
    training = a["mean"] is a["batch_mean"]
    return "batch_norm", {"eps": a["epsilon"], "decay": getattr(layer, "momentum", None), "training": training}


def _linear(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    return ("linear" if a["x1"] is x and x.ndim == 2 and len(a["x2"].shape) == 2 else "other"), {}


def _pool(kind: str) -> Describe:
    def pool(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        if x.ndim != 4:
            return "other", {}
        size, stride = _two(a["pool_size"]), _two(a["strides"] or a["pool_size"])
        settings = {"kernel_size": size, "stride": stride, "padding": _padding(a, x, size, stride)}
        return kind, settings | ({"count_include_pad": False} if kind == "avg_pool" else {})

    return pool


def _reduction(kind: str) -> Describe:
    def reduction(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        axes = range(x.ndim) if a["axis"] is None else np.atleast_1d(a["axis"]).tolist()
        return kind, {"axes": tuple(sorted(_axis(axis, x) for axis in axes)), "keepdims": bool(a["keepdims"])}

    return reduction


def _adaptive(kind: str) -> Describe:
    def adaptive(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        if x.ndim == 4 and _two(a["output_size"]) == (1, 1):
            return kind, {"axes": (2, 3), "keepdims": True}
        return ("identity" if tuple(made.shape) == x.shape else "other"), {}

    return adaptive


def _plain(kind: str, **names: str) -> Describe:
    """An operation whose settings are attributes, under these names."""
    return lambda a, x, made: (kind, {ours: float(a[theirs]) for ours, theirs in names.items()})


def _relu(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    slope, highest = float(a["negative_slope"]), a["max_value"]
    if a["threshold"] or (slope and highest is not None):
        return "other", {}
    if slope:
        return "leaky_relu", {"slope": slope}
    return {None: "relu", 6: "relu6"}.get(highest, "other"), {}


def _clip(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    return {(0, np.inf): "relu", (0, 6): "relu6"}.get((a["x_min"], a["x_max"]), "other"), {}


def _maximum(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    constants = [array_of(a[name]) for name in ("x1", "x2") if not isinstance(a[name], Symbol)]
    return ("relu" if constants and not constants[0].any() else "other"), {}


def _gelu(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    return ("other" if a["approximate"] else "gelu"), {}


def _softmax(kind: str) -> Describe:
    def softmax(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        axes = [_axis(axis, x) for axis in np.atleast_1d(a["axis"]).tolist()]
        return (kind if axes == [1] else "other"), {}

    return softmax


def _view(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    flat = x.ndim == 4 and len(made.shape) == 2 and made.shape[0] == x.shape[0]
    return ("flatten" if flat else "identity" if tuple(made.shape) == x.shape else "reshape"), {}


def _permute(name: str) -> Describe:
    def permute(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        axes = AXES[name](a, x.ndim)
        if axes == (TO_FIRST if x.last else TO_LAST):
            return "identity", {}  # another layout of the same (N, C, H, W)
        return "permute", {"axes": axes}

    return permute


def _pad(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    widths = list(a["pad_width"]) * (x.ndim if len(a["pad_width"]) == 1 else 1)
    of = {_axis(axis, x): tuple(pair) for axis, pair in enumerate(widths)}
    if x.ndim != 4 or a["mode"] != "constant" or any(of[0] + of[1]):
        return "other", {}
    return "pad", {"padding": (of[2], of[3]), "value": float(a.get("constant_values") or 0)}


def _concat(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    return "concat", {"axis": _axis(a["axis"], x)}


def _combined(kind: str) -> Describe:
    def combined(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
        if isinstance(a["x1"], Symbol):
            return kind, {} if isinstance(a["x2"], Symbol) else {"constant": _constant(a["x2"], x)}
        return (kind, {"constant": _constant(a["x1"], x)}) if kind in ("add", "multiply") else ("other", {})

    return combined


def _dropout(a: Settings, x: Symbol, made: Any) -> tuple[str, Settings]:
    return "dropout", {"rate": float(a["rate"]), "training": bool(a.get("training"))}


LAYERS = ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout")  # that are none of Keras' operations
# By the names of Keras' classes.
KINDS: dict[str, Describe] = {
    "Conv": _conv,
    "DepthwiseConv": _depthwise_conv,
    "BatchNorm": _norm,
    "Matmul": _linear,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "AdaptiveAveragePool": _adaptive("mean"),
    "AdaptiveMaxPool": _adaptive("max"),
    "Mean": _reduction("mean"),
    "Sum": _reduction("sum"),
    **dict.fromkeys(("Max", "Amax"), _reduction("max")),
    "ReLU": _relu,
    **{name: _plain(name.lower()) for name in ("Relu", "Relu6", "Selu", "Silu", "Tanh", "Softplus", "Sigmoid")},
    "HardSigmoid": _plain("hard_sigmoid"),
    "HardSilu": _plain("hard_silu"),
    "LeakyRelu": _plain("leaky_relu", slope="negative_slope"),
    "Elu": _plain("elu", slope="alpha"),
    "Gelu": _gelu,
    "Clip": _clip,
    "Maximum": _maximum,
    "Softmax": _softmax("softmax"),
    "LogSoftmax": _softmax("log_softmax"),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims", "Ravel"), _view),
    **{name: _permute(name) for name in ("Transpose", "Moveaxis")},
    "Pad": _pad,
    "Concatenate": _concat,
    **{name: _combined(name.lower()) for name in ("Add", "Subtract", "Multiply", "Divide")},
    "TrueDivide": _combined("divide"),
    **dict.fromkeys(LAYERS, _dropout),
    **dict.fromkeys(("Cast", "ConvertToTensor", "Copy", "StopGradient"), _plain("identity")),
}
# Where they put which axis.
AXES: dict[str, Callable[[Settings, int], tuple[int, ...]]] = {
    "Transpose": lambda a, ndim: tuple(axis % ndim for axis in a["axes"] or range(ndim)[::-1]),
    "Moveaxis": lambda a, ndim: np.moveaxis(np.empty(range(ndim)), a["source"], a["destination"]).shape,
}
# Their arguments that may be parameters, by canonical last names.
OPERANDS = {"kernel": "weight", "x2": "weight"}
OPERANDS |= {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}


def _rescaled(layer: keras.Layer, x: Any) -> Any:
    scale, offset = np.asarray(layer.scale, layer.compute_dtype), np.asarray(layer.offset, layer.compute_dtype)
    if scale.ndim and keras.config.image_data_format() == "channels_first":
        scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    x = keras.ops.cast(x, layer.compute_dtype)
    x = x if (scale == 1).all() else keras.ops.multiply(x, scale)
    return x if (offset == 0).all() else keras.ops.add(x, offset)


def _normalized(layer: keras.Layer, x: Any) -> Any:
    x = keras.ops.cast(x, layer.compute_dtype)
    deviation = keras.ops.maximum(keras.ops.sqrt(layer.variance), keras.config.epsilon())
    if layer.invert:
        return keras.ops.add(keras.ops.multiply(x, deviation), layer.mean)
    return keras.ops.divide(keras.ops.subtract(x, layer.mean), deviation)


# Layers and activations of Keras that compute past its operations, as functions of what they are given.
SPELLED_OUT: dict[str, Callable[[keras.Layer, Any], Any]] = {"Rescaling": _rescaled, "Normalization": _normalized}
ACTIVATIONS = {keras.activations.hard_silu: keras.ops.hard_silu}


def _padding(
    a: Settings, x: Symbol, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...] = (1, 1)
) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)) of "valid" and of "same", which pads one side more where it must, the end."""
    if a["padding"] == "valid":
        return (0, 0), (0, 0)
    height = 1 if a["data_format"] == "channels_last" else 2
    found = []
    for n, k, s, d in zip(x.shape[height : height + 2], size, stride, dilation):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        found.append((total // 2, total - total // 2))
    return tuple(found)


def _axis(axis: int, x: Symbol) -> int:
    """An axis as of (N, C, H, W)."""
    axis %= x.ndim
    return (0, 2, 3, 1)[axis] if x.ndim == 4 and x.last else axis


def _constant(value: Any, x: Symbol) -> np.ndarray:
    """What broadcasts over `x` as an array that broadcasts over (N, C, H, W)."""
    array = array_of(value)
    if array.ndim == 0 or x.ndim != 4 or not x.last:
        return array
    return array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_FIRST)


def _two(value: Any) -> tuple[int, int]:
    """For height and width."""
    first, last = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return first, last
