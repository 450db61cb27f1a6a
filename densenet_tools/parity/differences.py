"""How far arrays are from those of the reference: relative to what, and which of them is the farthest."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

BLOCK = 2**17  # values that are subtracted at a time: they stay in the processor's cache


def largest(array: np.ndarray) -> float:
    """The largest magnitude, NaN where there is one."""
    return float(max(array.max(), -array.min()))


def euclidean(array: np.ndarray) -> float:
    """The Euclidean norm."""
    return float(np.linalg.norm(array))


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and the same over the largest expected magnitude; NaN for other shapes."""
    if found.shape != expected.shape:
        return float("nan"), float("nan")
    absolute = _size_of_difference(largest, found, expected)
    scale = largest(expected)
    return absolute, absolute / scale if scale else absolute


def _differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{name: relative difference}, NaN for what is missing."""
    return {
        name: difference(found[name], array)[1] if name in found else float("nan") for name, array in expected.items()
    }


def layer_differences(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> tuple[tuple[str, float], ...]:
    """(layer, relative difference) in the order of the network."""
    return tuple(_differences(found, expected).items())


def gradient_differences(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    size: Callable[[np.ndarray], float] = largest,
    floor: float = 0.0,
) -> dict[str, float]:
    """{name: size of the difference, relative to the largest gradient in its group}; NaN for what is missing.

    A group counts as no smaller than `floor` times the largest gradient of all.
    """
    sizes = {name: size(array) for name, array in expected.items()}
    least = floor * max(sizes.values(), default=0.0)
    group_sizes: dict[str, float] = {}
    for name, own in sizes.items():
        group_sizes[_group(name)] = max(group_sizes.get(_group(name), least), own)
    return {
        name: _size_of_difference(size, found[name], array) / (group_sizes[_group(name)] or 1.0)
        if name in found and found[name].shape == array.shape
        else float("nan")
        for name, array in expected.items()
    }


def statistic_differences(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], eps: Mapping[str, float]
) -> dict[str, float]:
    """{name: relative difference}, given each batch norm's epsilon by its path.

    A variance's is relative to epsilon too, with which alone it is used (and MXNet has it from 1 / sqrt(var + eps));
    a mean's to the deviation, as values of that size were added up.
    """
    differences = {}
    for name, array in expected.items():
        layer, _, kind = name.rpartition(".")
        other = eps[layer] if kind == "running_var" else np.sqrt(expected[f"{layer}.running_var"].max())
        absolute = difference(found[name], array)[0] if name in found else float("nan")
        differences[name] = absolute / max(largest(array), other)
    return differences


def _size_of_difference(size: Callable[[np.ndarray], float], found: np.ndarray, expected: np.ndarray) -> float:
    """The size of `found` - `expected`, in float64: of the sizes of its blocks, which needs no memory to speak of."""
    return size(np.array([size(np.subtract(*pair, dtype="float64")) for pair in _blocks(found, expected)]))


def _blocks(found: np.ndarray, expected: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two arrays of one shape, cut at the same places along their first axes; views."""
    if found.size <= BLOCK:
        yield found, expected
        return
    rows = BLOCK * len(found) // found.size
    if rows == 0:
        for pair in zip(found, expected):
            yield from _blocks(*pair)
    else:
        for start in range(0, len(found), rows):
            yield found[start : start + rows], expected[start : start + rows]


def _group(name: str) -> str:
    """The container or composite whose layer a parameter belongs to; a gate's belong to the block they gate.

    A batch norm undoes a shift or a scale of its input, so what only shifts or scales that input (a bias, a
    gate, a convolution of one channel) has a gradient of zero but for rounding: relative to itself it is noise.
    """
    layer = name.rpartition(".")[0]
    return name if not layer else layer.rpartition(".")[0].removesuffix(".se")
