"""What MXNet's operations are called in spec.recording, and with which settings; what is left out has its defaults."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mxnet import autograd

from spec.recording import ACTIVATIONS

Settings = dict[str, Any]
Describe = Callable[[Settings, Sequence[Any], Any], tuple[str, Settings]]


def described(name: str, a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    """The kind and settings of a call of an operation with attributes and arrays, which made another."""
    return KINDS.get(name, _plain("other"))(a, given, made)


def _conv(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    if made.ndim != 4:
        return "other", {}
    return "conv", {
        "stride": _two(a, "stride", 1),
        "padding": tuple((p, p) for p in _two(a, "pad", 0)),
        "dilation": _two(a, "dilate", 1),
        "groups": a.get("num_group", 1),
    }


def _norm(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    if a.get("axis", 1) % made.ndim != 1:
        return "other", {}
    return "batch_norm", {
        "eps": a.get("eps", 1e-3),
        "decay": a.get("momentum", 0.9),
        "training": autograd.is_training() and not a.get("use_global_stats", False),
    } | ({"fix_gamma": True} if a.get("fix_gamma", True) else {})  # whatever its weight is, it counts as ones


def _linear(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    return ("linear" if made.ndim == 2 else "other"), {}


def _pool(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    kind, x = a.get("pool_type", "max"), given[0]
    if kind not in ("max", "avg") or x.ndim != 4:
        return "other", {}
    if a.get("global_pool", False):
        return ("mean" if kind == "avg" else "max"), {"axes": (2, 3), "keepdims": True}
    stride, pad = _two(a, "stride", 1), _two(a, "pad", 0)
    if any((out - 1) * s >= size + p for out, s, size, p in zip(made.shape[2:], stride, x.shape[2:], pad)):
        return "other", {}  # its last windows hold nothing at all: an average of 0, the lowest number there is
    settings = {
        "kernel_size": _two(a, "kernel", 1),
        "stride": stride,
        "padding": tuple((p, p) for p in pad),
        "ceil_mode": a.get("pooling_convention", "valid") == "full",
    }
    return f"{kind}_pool", settings | ({"count_include_pad": a.get("count_include_pad", True)} if kind == "avg" else {})


def _adaptive(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    if tuple(made.shape[2:]) == (1, 1):
        return "mean", {"axes": (2, 3), "keepdims": True}
    return ("identity" if made.shape == given[0].shape else "other"), {}


def _reduction(kind: str) -> Describe:
    def reduction(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
        every = range(given[0].ndim)
        axes = {axis % len(every) for axis in np.atleast_1d(a.get("axis", ())).astype(int).tolist()} or set(every)
        axes = set(every) - axes if a.get("exclude", False) else axes
        return kind, {"axes": tuple(sorted(axes)), "keepdims": bool(a.get("keepdims", False))}

    return reduction


def _plain(kind: str) -> Describe:
    """An operation without settings."""
    return lambda a, given, made: (kind, {})


def _activation(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    kind = {"softrelu": "softplus"}.get(a["act_type"], a["act_type"])
    return (kind if kind in ACTIVATIONS else "other"), {}


def _leaky(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    kind, slope = a.get("act_type", "leaky"), a.get("slope", 0.25)
    with_slope = {"leaky": ("leaky_relu", {"slope": slope}), "elu": ("elu", {"slope": slope})}
    return with_slope.get(kind, (kind if kind in ("selu", "gelu") else "other", {}))


def _hard_sigmoid(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    usual = abs(a.get("alpha", 0.2) - 1 / 6) < 1e-6 and a.get("beta", 0.5) == 0.5
    return ("hard_sigmoid" if usual else "other"), {}


def _softmax(kind: str) -> Describe:
    def softmax(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
        over_channels = a.get("axis", -1) % made.ndim == 1
        return (kind if over_channels and a.get("temperature", 1.0) == 1 else "other"), {}

    return softmax


def _clip(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    limits = float(a.get("a_min", "-inf")), float(a.get("a_max", "inf"))
    return {(0.0, float("inf")): "relu", (0.0, 6.0): "relu6"}.get(limits, "other"), {}


def _maximum(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    return ("relu" if a["scalar"] == 0 else "other"), {}


def _view(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    x = given[0]
    flat = x.ndim == 4 and made.ndim == 2 and made.shape[0] == x.shape[0]
    return ("flatten" if flat else "identity" if made.shape == x.shape else "reshape"), {}


def _transpose(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    return "permute", {"axes": tuple(a.get("axes") or range(made.ndim)[::-1])}


def _swap(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    axes = list(range(made.ndim))
    first, second = a.get("dim1", 0), a.get("dim2", 0)
    axes[first], axes[second] = axes[second], axes[first]
    return "permute", {"axes": tuple(axes)}


def _pad(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    widths = np.ravel(a["pad_width"]).tolist()
    if a.get("mode", "constant") != "constant" or made.ndim != 4 or any(widths[:4]):
        return "other", {}
    top, bottom, left, right = widths[4:]
    return "pad", {"padding": ((top, bottom), (left, right)), "value": float(a.get("constant_value", 0))}


def _concat(name: str, default: int) -> Describe:
    """Along the axis of this name; as a function of mx.np it may flatten, which is none of ours."""
    return lambda a, given, made: (
        ("concat", {"axis": a.get(name, default) % made.ndim}) if made.ndim == given[0].ndim else ("other", {})
    )


def _combined(kind: str) -> Describe:
    """Two arrays, or one and a number."""

    def combined(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
        if len(given) > 2:
            return "other", {}
        return kind, {"constant": np.asarray(a["scalar"])} if "scalar" in a else {}

    return combined


def _dropout(a: Settings, given: Sequence[Any], made: Any) -> tuple[str, Settings]:
    return "dropout", {"rate": a.get("p", 0.5), "training": autograd.is_training() or a.get("mode") == "always"}


# By MXNet's own names, of which each operation has one; those with np are of mx.np and npx.
KINDS: dict[str, Describe] = {
    "Convolution": _conv,
    **dict.fromkeys(("BatchNorm", "_contrib_SyncBatchNorm"), _norm),
    "FullyConnected": _linear,
    "Pooling": _pool,
    "_contrib_AdaptiveAvgPooling2D": _adaptive,
    **dict.fromkeys(("mean", "_npi_mean"), _reduction("mean")),
    **dict.fromkeys(("sum", "_np_sum"), _reduction("sum")),
    **dict.fromkeys(("max", "_np_max"), _reduction("max")),
    "Activation": _activation,
    "LeakyReLU": _leaky,
    **dict.fromkeys(("relu", "_npx_relu"), _plain("relu")),
    **dict.fromkeys(("sigmoid", "_npx_sigmoid"), _plain("sigmoid")),
    **dict.fromkeys(("tanh", "_npi_tanh"), _plain("tanh")),
    "hard_sigmoid": _hard_sigmoid,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    **dict.fromkeys(
        ("SoftmaxOutput", "SoftmaxActivation"), lambda a, given, made: _softmax("softmax")({}, given, made)
    ),
    "clip": _clip,
    "_maximum_scalar": _maximum,
    **dict.fromkeys(("Flatten", "Reshape", "reshape_like", "expand_dims", "squeeze"), _view),
    **dict.fromkeys(("_np_reshape", "_npx_reshape", "_np_squeeze"), _view),
    **dict.fromkeys(("_copy", "_copyto", "_np_copy", "BlockGrad", "Cast", "amp_cast"), _plain("identity")),
    **dict.fromkeys(("transpose", "_np_transpose"), _transpose),
    "SwapAxis": _swap,
    **dict.fromkeys(("Pad", "_npi_pad"), _pad),
    "Concat": _concat("dim", 1),
    "_npi_concatenate": _concat("axis", 0),
    **dict.fromkeys(("elemwise_add", "broadcast_add", "add_n", "_npi_add"), _combined("add")),
    **dict.fromkeys(("_plus_scalar", "_npi_add_scalar"), _combined("add")),
    **dict.fromkeys(("elemwise_sub", "broadcast_sub", "_npi_subtract"), _combined("subtract")),
    **dict.fromkeys(("_minus_scalar", "_npi_subtract_scalar"), _combined("subtract")),
    **dict.fromkeys(("elemwise_mul", "broadcast_mul", "_npi_multiply"), _combined("multiply")),
    **dict.fromkeys(("_mul_scalar", "_npi_multiply_scalar"), _combined("multiply")),
    **dict.fromkeys(("elemwise_div", "broadcast_div", "_npi_true_divide"), _combined("divide")),
    **dict.fromkeys(("_div_scalar", "_npi_true_divide_scalar"), _combined("divide")),
    "Dropout": _dropout,
}
# Their arguments in order, where some are parameters: these have their canonical last names.
NORM = ("", "weight", "bias", "running_mean", "running_var")
NAMES = {
    "Convolution": ("", "weight", "bias"),
    "FullyConnected": ("", "weight", "bias"),
    "BatchNorm": NORM,
    "_contrib_SyncBatchNorm": NORM,
}


def _two(a: Settings, name: str, default: int) -> tuple[int, int]:
    """For height and width; empty is the default, too."""
    first, second = a.get(name) or (default, default)
    return first, second
