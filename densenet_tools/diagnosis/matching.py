"""Which operation of a stranger's model is which layer of the network.

Names decide where they are known: the spec's, which are torchvision's, keras.applications', the model zoo's. Else it is
what a layer is, what it holds and when it runs: the two sequences are aligned as Needleman and Wunsch (1970) align
proteins, and what runs elsewhere than expected is found by what it holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from densenet_tools.diagnosis.steps import Step
from densenet_tools.porting.names import IMPLEMENTATIONS, canonical_layers
from spec.layers import AvgPool, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool
from spec.recording import GLOBAL, PARAMETRIC, POOLS, Call, Recording
from spec.tree import Node

NAMED, SAME, LIKE = 100, 4, 1  # points for a pair of one name, of one kind and shape, of a kind that may be meant
KINDS: dict[type[Node], tuple[str, ...]] = {  # of calls that may be such a layer, the likeliest first
    Conv: ("conv", "linear"),
    BatchNorm: ("batch_norm",),
    Linear: ("linear", "conv"),
    MaxPool: ("max_pool", "avg_pool"),
    AvgPool: ("avg_pool", "max_pool"),
    GlobalAvgPool: ("mean", "avg_pool", "max", "sum", "max_pool"),
}


@dataclass(frozen=True)
class Matched:
    """{number of a step: number of its call}, and the layers and operations that found no partner."""

    calls: Mapping[int, int]
    steps_left: tuple[int, ...]
    calls_left: tuple[int, ...]


def match(steps: Sequence[Step], recording: Recording, arrays: Mapping[str, np.ndarray]) -> Matched:
    """Each of the network's layers with the call that is it, at most one each."""
    calls = recording.calls
    rows = [number for number, step in enumerate(steps) if step.is_layer]
    columns = [number for number, call in enumerate(calls) if call.kind in (*PARAMETRIC, *POOLS, *GLOBAL)]
    names = _canonical({number: _own_name(calls[number]) for number in columns}, steps)
    shapes = {number: _shape(calls[number], arrays) for number in columns}
    points = np.zeros((len(rows), len(columns)), dtype="int64")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            points[i, j] = _points(steps[row], calls[column], shapes[column], names[column])
    found: dict[int, int] = {}
    for pairing in (_of_one_name, aligned, _anywhere):
        left = [i for i in range(len(rows)) if i not in found]
        free = [j for j in range(len(columns)) if j not in found.values()]
        found |= {left[i]: free[j] for i, j in pairing(points[np.ix_(left, free)])}
    pairs = {rows[i]: columns[j] for i, j in found.items()}
    taken = set(pairs.values())
    left_over = (tuple(row for row in rows if row not in pairs), tuple(each for each in columns if each not in taken))
    return Matched(pairs, *left_over)


def aligned(points: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of (row, column), both rising, whose points sum up to the most."""
    rows, columns = points.shape
    best = np.zeros((rows + 1, columns + 1), dtype="int64")
    for i in range(rows):
        taken = np.maximum(best[i, :-1] + points[i], best[i, 1:])  # with the row's partner in this column, or without
        best[i + 1, 1:] = np.maximum.accumulate(taken)
    pairs = []
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i, j - 1]:
            j -= 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _of_one_name(points: np.ndarray) -> list[tuple[int, int]]:
    """The first column of the row's own name, wherever it runs."""
    return _firsts(points >= NAMED)


def _anywhere(points: np.ndarray) -> list[tuple[int, int]]:
    """The first column of the row's kind and shape, though it runs at another time."""
    return _firsts(points >= SAME)


def _firsts(fits: np.ndarray) -> list[tuple[int, int]]:
    """Each row with the first column that fits and that no row before it has."""
    pairs: dict[int, int] = {}
    for i, j in zip(*map(list, np.nonzero(fits))):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return list(pairs.items())


def _points(step: Step, call: Call, shape: tuple[int, ...], name: str) -> int:
    """How well they fit; negative where they cannot be the same."""
    kinds = KINDS[type(step.node)]
    if call.kind not in kinds:
        return -NAMED
    named = NAMED if name and name == step.path else 0
    expected = step.node.parameter_shapes().get("weight", ())
    same = (SAME if call.kind == kinds[0] else LIKE) if not expected else _alike(shape, expected) * SAME or LIKE
    return named + same


def _alike(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether they are the same but for axes of length 1: a linear layer may be a 1x1 convolution."""
    return len(shape) > 0 and [n for n in shape if n > 1] == [n for n in expected if n > 1]


def _shape(call: Call, arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """The shape of its weight, in canonical layout; of a batch norm without scale, that of its mean."""
    name = call.parameters.get("weight", call.parameters.get("running_mean", ""))
    return arrays[name].shape if name in arrays else ()


def _own_name(call: Call) -> str:
    """What the model calls the layer; where it is a function, what its weight is an attribute of."""
    name = call.parameters.get("weight", call.layer)
    return call.layer if "/" in name or "." not in name else name.rpartition(".")[0]


def _canonical(names: Mapping[int, str], steps: Sequence[Step]) -> dict[int, str]:
    """{call: canonical name} by the implementation that knows most of the names; "" where none does."""
    paths = {step.path for step in steps}
    given = set(names.values())
    prefix = next((name[: -len(path)] for name in given for path in ("features.conv0",) if name.endswith(path)), "")
    tables = [{name: name.removeprefix(prefix) for name in given}]
    tables += [canonical_layers(implementation, given) for implementation in IMPLEMENTATIONS]
    best = max(tables, key=lambda table: len(paths & set(table.values())))
    return {number: best.get(name, "") for number, name in names.items()}
