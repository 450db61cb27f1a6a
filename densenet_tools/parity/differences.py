"""How far arrays are from those of the reference: relative to what, and which of them is the farthest."""

from collections.abc import Callable, Mapping

import numpy as np


def largest(array: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.abs(array).max())


def euclidean(array: np.ndarray) -> float:
    """The Euclidean norm."""
    return float(np.linalg.norm(array))


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and the same over the largest expected magnitude; NaN for other shapes."""
    if found.shape != expected.shape:
        return float("nan"), float("nan")
    absolute = largest(found.astype("float64") - expected)
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
    least = floor * max(map(size, expected.values()), default=0.0)
    group_sizes: dict[str, float] = {}
    for name, array in expected.items():
        group_sizes[_group(name)] = max(group_sizes.get(_group(name), least), size(array))
    return {
        name: size(found[name].astype("float64") - array) / (group_sizes[_group(name)] or 1.0)
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


def _group(name: str) -> str:
    """The container or composite whose layer a parameter belongs to; a gate's belong to the block they gate.

    A batch norm undoes a shift or a scale of its input, so what only shifts or scales that input (a bias, a
    gate, a convolution of one channel) has a gradient of zero but for rounding: relative to itself it is noise.
    """
    layer = name.rpartition(".")[0]
    return name if not layer else layer.rpartition(".")[0].removesuffix(".se")
