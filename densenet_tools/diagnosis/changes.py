"""What may be wrong with a layer: the causes that are tried, those that the model itself says first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import combinations
from typing import Any

import numpy as np

from densenet_tools.diagnosis import operations
from densenet_tools.diagnosis.layers import KERNELS, MATRICES, Settings, computed, settings_of
from densenet_tools.diagnosis.operations import DEVIATIONS, Arrays
from spec.layers import AvgPool, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool
from spec.recording import Call
from spec.tree import Node

SOLVED = "solved"  # for an epsilon: that with which the layer gives what the model has


@dataclass(frozen=True)
class Change:
    """`cause` is a key of mending.LINES, `text` says it to a reader, `settings` is what it changes of a layer's.

    `said` where the model itself has that setting.
    """

    cause: str
    text: str
    settings: Mapping[str, Any] = field(hash=False)
    said: bool = False


@singledispatch
def changes(node: Node, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    """The changes to try at a layer, whose input in the model is `x` and whose arrays there are `own`."""
    raise TypeError(f"densenet diagnose has no causes for {node!r}: register them")


@changes.register
def _(node: Conv, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    yield from _said(node, call, ("stride", "padding", "dilation", "groups"))
    size = (node.kernel_size, node.kernel_size)
    same = operations.same(x, size, (node.stride, node.stride))
    yield Change("padding", f"padded SAME, by {_sides(same)}", {"padding": same})
    for p in range(node.kernel_size):
        yield Change("padding", f"padded by {p}", {"padding": ((p, p), (p, p))})
    for s in (1, 2, 3, 4):
        yield Change("stride", f"stride {s}", {"stride": (s, s)})
    if node.kernel_size > 1:
        p = node.padding * 2
        yield Change("dilation", "dilation 2", {"dilation": (2, 2), "padding": ((p, p), (p, p))})
    for name in list(KERNELS)[1:]:
        yield Change(f"kernel {name}", f"kernel {name}", {"kernel": name})
    yield from _biases(node, own)


@changes.register
def _(node: Linear, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    for name in list(MATRICES)[1:]:
        yield Change(f"matrix {name}", f"weight {name}", {"kernel": name})
    yield from _biases(node, own)


@changes.register
def _(node: BatchNorm, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    if "running_mean" not in own:
        yield Change("running", "no running statistics: the batch's are used", {"statistics": "batch"}, said=True)
        return
    if call.settings.get("training"):
        yield Change("training", "the batch's statistics: training mode is on", {"statistics": "batch"}, said=True)
    yield from _said(node, call, ("eps",))
    yield Change("eps", "eps {eps:.4g}", {"eps": SOLVED})
    yield Change("training", "the batch's statistics: training mode is on", {"statistics": "batch"})
    yield Change("training", "the batch's statistics, its variance unbiased", {"statistics": "unbiased"})
    for deviation in list(DEVIATIONS)[1:]:
        yield Change("deviation", f"divides by {deviation}", {"deviation": deviation})
    yield Change("exchanged", "scale and shift exchanged", {"scale": "bias", "shift": "weight"})
    yield Change("scale", "no scale", {"scale": "none"})
    yield Change("shift", "no shift", {"shift": "none"})


@changes.register(MaxPool)
@changes.register(AvgPool)
def _(node: MaxPool | AvgPool, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    other = {"max": "mean", "mean": "max"}[settings_of(node)["kind"]]
    yield from _said(node, call, ("kernel_size", "stride", "padding", "ceil_mode"))
    if call.settings.get("count_include_pad") and np.any(call.settings["padding"]):
        yield _over_zeros(node, said=True)
    yield Change("pool_kind", f"{other} in place of {settings_of(node)['kind']}", {"kind": other})
    yield Change("ceil_mode", "ceil_mode", {"ceil_mode": True})
    yield _over_zeros(node, said=False)
    size = (node.kernel_size, node.kernel_size)
    same = operations.same(x, size, (node.stride, node.stride))
    yield Change("padding", f"padded SAME, by {_sides(same)}", {"padding": same})
    for p in range(node.kernel_size // 2 + 1):
        yield Change("padding", f"padded by {p}", {"padding": ((p, p), (p, p))})
    for k in (2, 3):
        yield Change("kernel_size", f"windows of {k}", {"kernel_size": (k, k)})
    for s in (1, 2, 3):
        yield Change("stride", f"stride {s}", {"stride": (s, s)})


@changes.register
def _(node: GlobalAvgPool, call: Call, x: np.ndarray, own: Arrays) -> Iterator[Change]:
    if "kernel_size" in call.settings and tuple(call.settings["kernel_size"]) != x.shape[2:]:
        size = tuple(call.settings["kernel_size"])
        text = f"windows of {size[0]}x{size[1]}, the map is {x.shape[2]}x{x.shape[3]}"
        yield Change("window", text, {"kernel_size": size, "stride": tuple(call.settings["stride"])})
    yield Change("pool_kind", "maximum in place of mean", {"kind": "max"})
    yield Change("pool_kind", "sum in place of mean", {"kind": "sum"})


def combined(all_changes: list[Change]) -> Iterator[tuple[Change, ...]]:
    """Each change, then several of those that the model itself says, then any two of unlike things."""
    unlike: dict[tuple[str, ...], Change] = {}
    for change in all_changes:
        unlike.setdefault((change.cause, *map(str, change.settings.items())), change)
    distinct = list(unlike.values())
    said = [change for change in distinct if change.said]
    yield from ((change,) for change in distinct)
    for count in range(2, len(said) + 1):
        yield from combinations(said, count)
    yield from ((a, b) for a, b in combinations(distinct, 2) if not a.settings.keys() & b.settings.keys())


def with_changes(
    node: Node, made: tuple[Change, ...], x: np.ndarray, own: Arrays, y: np.ndarray
) -> tuple[np.ndarray | None, Settings]:
    """What the layer gives with these changes, None where it cannot be computed so; and its settings then.

    An epsilon is solved for: the one with which most channels give `y`, the model's output.
    """
    settings = settings_of(node)
    for change in made:
        settings |= change.settings
    try:
        with np.errstate(all="ignore"):
            if settings.get("eps") == SOLVED:
                settings["eps"] = _solved_eps(node, x, own, y, settings)
            return computed(node, x, own, settings), settings
    except (ValueError, IndexError, KeyError):  # windows larger than the map, groups that do not divide, no statistics
        return None, settings


def _solved_eps(node: Node, x: np.ndarray, own: Arrays, y: np.ndarray, settings: Settings) -> float:
    """From var + eps, which is the square of what divides: x's own deviation by that of the output, unscaled."""
    plain = computed(node, x, own, settings | {"eps": 0.0})
    shift = own.get(settings["shift"], np.zeros(x.shape[1]))[:, None, None]
    _, var = operations.statistics_of(x, own, settings["statistics"])
    with np.errstate(all="ignore"):
        ratio = np.sum((plain - shift) * (plain - shift), axis=(0, 2, 3)) / np.sum(
            (plain - shift) * (y - shift), axis=(0, 2, 3)
        )
        eps = {
            "sqrt(var + eps)": var * (ratio**2 - 1),
            "sqrt(var) + eps": np.sqrt(var) * (ratio - 1),
            "var + eps": var * (ratio - 1),
        }[settings["deviation"]]
    finite = eps[np.isfinite(eps)]
    return float(f"{max(float(np.median(finite)), 0.0):.4g}") if finite.size else 0.0


def _said(node: Node, call: Call, names: tuple[str, ...]) -> Iterator[Change]:
    """What the model itself says, where the network has something else."""
    own = settings_of(node)
    for name in names:
        found = call.settings.get(name, own[name])
        if found != own[name]:
            text = f"padded by {_sides(found)}" if name == "padding" else f"{name} {_plain(found)}"
            yield Change(name, text, {name: found}, said=True)


def _over_zeros(node: MaxPool | AvgPool, said: bool) -> Change:
    text = "the mean counts the padding" if isinstance(node, AvgPool) else "the padding counts as zeros, not as nothing"
    return Change("padded_with", text, {"padded_with": "zeros"}, said)


def _biases(node: Conv | Linear, own: Arrays) -> Iterator[Change]:
    if "bias" in own:
        yield Change(
            "bias", "no bias is added" if node.bias else "a bias that the network has not", {"bias": not node.bias}
        )


def _sides(padding: operations.Sides) -> str:
    (top, bottom), (left, right) = padding
    if top == bottom == left == right:
        return str(top)
    return f"{top} and {bottom} pixels" if (top, bottom) == (left, right) else str(padding)


def _plain(value: Any) -> str:
    return str(value[0]) if isinstance(value, tuple) and len(set(value)) == 1 else str(value)
