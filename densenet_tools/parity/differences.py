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
) -> dict[str, float]:
    """{name: size of the difference, relative to the largest gradient in its group}; NaN for what is missing."""
    group_sizes: dict[str, float] = {}
    for name, array in expected.items():
        group_sizes[_group(name)] = max(group_sizes.get(_group(name), 0.0), size(array))
    return {
        name: size(found[name].astype("float64") - array) / (group_sizes[_group(name)] or 1.0)
        if name in found and found[name].shape == array.shape
        else float("nan")
        for name, array in expected.items()
    }


def statistic_differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{name: relative difference}; a mean's is relative to the deviation too, as values of that size were added up."""
    differences = _differences(found, expected)
    for name in (name for name in differences if name.endswith(".running_mean")):
        deviation = np.sqrt(expected[name.replace("running_mean", "running_var")].max())
        scale = max(deviation, largest(expected[name]))
        differences[name] = difference(found[name], expected[name])[0] / scale if name in found else float("nan")
    return differences


def _group(name: str) -> str:
    """The container or composite whose layer a parameter belongs to; a gate's belong to the block they gate.

    A batch norm undoes a shift or a scale of its input, so what only shifts or scales that input (a bias, a
    gate, a convolution of one channel) has a gradient of zero but for rounding: relative to itself it is noise.
    """
    layer = name.rpartition(".")[0]
    return name if not layer else layer.rpartition(".")[0].removesuffix(".se")
