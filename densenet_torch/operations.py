"""What PyTorch's operations are called in spec.recording, and with which settings."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

Settings = dict[str, Any]
Describe = Callable[[Settings, Tensor], tuple[str, Settings]]
NEW = ("new_", "empty_like", "zeros_like", "ones_like", "full_like", "rand")  # take a shape, no values


def name_of(function: Any) -> str:
    """The dispatcher's name of an operation, without what says that it writes in place."""
    return str(function._schema.name).removeprefix("aten::").rstrip("_")


def described(name: str, a: Settings, made: Tensor) -> tuple[str, Settings]:
    """The kind and the settings of the dispatcher's operation of that name, given its arguments and its output."""
    return KINDS[name](a, made) if name in KINDS else ("other", {})


def dropout_rate(mask: np.ndarray, made: Tensor) -> float | None:
    """The rate of a dropout, which on a CPU multiplies by 0 or 1 / (1 - rate) for each value; None of another array."""
    values = np.unique(mask) if mask.shape == made.shape else np.empty(0)
    return round(float(1 - 1 / values[1]), 6) if len(values) == 2 and values[0] == 0 and values[1] > 1 else None


def _conv(a: Settings, made: Tensor) -> tuple[str, Settings]:
    if a["transposed"] or a["input"].ndim != 4:
        return "other", {}
    return "conv", {
        "stride": tuple(a["stride"]),
        "padding": tuple((p, p) for p in a["padding"]),
        "dilation": tuple(a["dilation"]),
        "groups": a["groups"],
    }


def _norm(a: Settings, made: Tensor) -> tuple[str, Settings]:
    training = a.get("training", a.get("train", False))  # one of the dispatcher's names for it has none
    return "batch_norm", {"eps": a.get("eps", a.get("epsilon")), "decay": 1 - a["momentum"], "training": training}


def _pool(kind: str) -> Describe:
    def pool(a: Settings, made: Tensor) -> tuple[str, Settings]:
        if any(each != 1 for each in a.get("dilation", ())) or a.get("divisor_override"):
            return "other", {}
        settings = {
            "kernel_size": _two(a["kernel_size"]),
            "stride": _two(a["stride"] or a["kernel_size"]),
            "padding": tuple((p, p) for p in _two(a["padding"])),
            "ceil_mode": a["ceil_mode"],
        }
        return kind, settings | {key: a[key] for key in ("count_include_pad",) if key in a}

    return pool


def _reduction(kind: str) -> Describe:
    def reduction(a: Settings, made: Tensor) -> tuple[str, Settings]:
        x, dims = a["self"], a["dim"] if isinstance(a["dim"], list | tuple) else [a["dim"]]
        return kind, {"axes": tuple(sorted(d % x.ndim for d in dims)), "keepdims": a["keepdim"]}

    return reduction


def _adaptive(kind: str) -> Describe:
    def adaptive(a: Settings, made: Tensor) -> tuple[str, Settings]:
        if tuple(made.shape[2:]) == (1, 1):
            return kind, {"axes": (2, 3), "keepdims": True}
        return ("identity" if made.shape == a["self"].shape else "other"), {}

    return adaptive


def _plain(kind: str, **names: str) -> Describe:
    """An operation whose settings are arguments, under these names."""
    return lambda a, made: (kind, {ours: a[theirs] for ours, theirs in names.items()})


def _clamp(a: Settings, made: Tensor) -> tuple[str, Settings]:
    low, high = a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))
    return "relu" if (low, high) == (0, None) else "relu6" if (low, high) == (0, 6) else "other", {}


def _view(a: Settings, made: Tensor) -> tuple[str, Settings]:
    flat = a["self"].ndim == 4 and made.ndim == 2 and made.shape[0] == a["self"].shape[0]
    return ("flatten" if flat else "identity" if made.shape == a["self"].shape else "reshape"), {}


def _linear(a: Settings, made: Tensor) -> tuple[str, Settings]:
    return ("linear" if made.ndim == 2 and a.get("alpha", 1) == a.get("beta", 1) == 1 else "other"), {}


def _cat(a: Settings, made: Tensor) -> tuple[str, Settings]:
    return "concat", {"axis": a["dim"] % made.ndim}


def _combined(kind: str) -> Describe:
    def combined(a: Settings, made: Tensor) -> tuple[str, Settings]:
        other = a["other"]
        if a.get("alpha", 1) != 1:
            return "other", {}
        return kind, {} if isinstance(other, Tensor) else {"constant": np.asarray(other)}

    return combined


def _padded(a: Settings, made: Tensor) -> tuple[str, Settings]:
    left, right, top, bottom = (*a["pad"], 0, 0)[:4]
    value = a.get("value") or 0.0
    return ("pad" if len(a["pad"]) <= 4 else "other"), {"padding": ((top, bottom), (left, right)), "value": value}


# How the dispatcher's operations are called in spec.recording, and with which settings.
KINDS: dict[str, Describe] = {
    **dict.fromkeys(("convolution", "_convolution"), _conv),  # the latter of what torch.jit traced
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"), _norm),
    **dict.fromkeys(("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update"), _norm),
    **dict.fromkeys(("addmm", "mm", "linear"), _linear),
    "max_pool2d_with_indices": _pool("max_pool"),
    "avg_pool2d": _pool("avg_pool"),
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    **dict.fromkeys(("amax", "max"), _reduction("max")),
    "_adaptive_avg_pool2d": _adaptive("mean"),
    "adaptive_max_pool2d": _adaptive("max"),
    **{name: _plain(name) for name in ("relu", "selu", "silu", "tanh", "softplus", "sigmoid", "gelu")},
    "leaky_relu": _plain("leaky_relu", slope="negative_slope"),
    "elu": _plain("elu", slope="alpha"),
    "hardsigmoid": _plain("hard_sigmoid"),
    "hardswish": _plain("hard_silu"),
    "_softmax": _plain("softmax"),
    "_log_softmax": _plain("log_softmax"),
    **dict.fromkeys(("clamp", "hardtanh", "clamp_min"), _clamp),
    **dict.fromkeys(("view", "_unsafe_view", "squeeze", "unsqueeze", "reshape"), _view),
    **{name: _plain("identity") for name in ("clone", "detach", "alias", "contiguous", "_to_copy")},
    "permute": _plain("permute", axes="dims"),
    "transpose": lambda a, made: ("permute", {"axes": _exchanged(made.ndim, a["dim0"], a["dim1"])}),
    "constant_pad_nd": _padded,
    "cat": _cat,
    **{name: _combined(kind) for name, kind in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"))},
    "div": _combined("divide"),
    "native_dropout": lambda a, made: ("dropout", {"rate": a["p"], "training": bool(a["train"])}),
}
# Their arguments that are parameters, by their canonical last names.
NORM = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
NAMES = {
    **{name: {"weight": "weight", "bias": "bias"} for name, function in KINDS.items() if function is _conv},
    **{name: NORM for name, function in KINDS.items() if function is _norm},
    "addmm": {"mat2": "weight", "self": "bias"},
    "mm": {"mat2": "weight"},
    "linear": {"weight": "weight", "bias": "bias"},
}


def _two(value: int | Sequence[int]) -> tuple[int, int]:
    first, last = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return first, last


def _exchanged(ndim: int, first: int, second: int) -> tuple[int, ...]:
    axes = list(range(ndim))
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)
