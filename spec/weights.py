"""Weights on their way in: checked as a whole before anything is assigned."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spec.errors import SpecError
from spec.shapes import Shapes

KINDS = ("float32", "float64")
LISTED = 3  # names that a message spells out before it says how many more there are


def check_weights(weights: Mapping[str, np.ndarray], expected: Shapes, dtype: str) -> None:
    """Raises SpecError unless `weights` has just the names, shapes and dtype expected, with values that can be right.

    They are finite, and variances not below 0. Byte order is the machine's; memory may lie in any order.
    """
    if not isinstance(weights, Mapping):
        raise SpecError(f"weights must be a mapping of names to arrays, found {type(weights).__name__}")
    _check_names(weights, expected)
    _refuse(_no_arrays(weights))
    check_shapes({name: array.shape for name, array in weights.items()}, expected)
    _refuse(_mistyped(weights, dtype) or _out_of_range(weights))


def check_shapes(found: Shapes, expected: Shapes) -> None:
    """Raises SpecError unless `found` has just the names and shapes expected, which a file's header shows, too."""
    _check_names(found, expected)
    _refuse(
        [
            f"{name} has shape {found[name]}, expected {shape}"
            for name, shape in expected.items()
            if found[name] != shape
        ]
    )


def check_kinds(path: str | Path, kinds: Mapping[str, str], also: Sequence[str] = ()) -> None:
    """Raises SpecError unless what a file holds, {name: dtype or type}, can be a network's weights."""
    other = [f"{name} is {kind}" for name, kind in kinds.items() if kind not in (*KINDS, *also)]
    if other:
        raise SpecError(f"{path} must hold arrays of float32 or float64, found {_listed(other)}: convert them")


def _check_names(found: Mapping[str, object], expected: Shapes) -> None:
    missing = [name for name in expected if name not in found]
    unexpected = [str(name) for name in found if name not in expected]
    kinds = {"missing": missing, "unexpected": unexpected}
    sentence = "; ".join(f"{what} {_listed(names)}" for what, names in kinds.items() if names)
    _refuse([sentence] if sentence else [])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SpecError(f"weights do not fit, nothing was loaded: {_listed(problems)}")


def _no_arrays(weights: Mapping[str, object]) -> list[str]:
    return [
        f"{name} is a {type(found).__name__}, expected a NumPy array"
        for name, found in weights.items()
        if not isinstance(found, np.ndarray)
    ]


def _mistyped(weights: Mapping[str, np.ndarray], dtype: str) -> list[str]:
    expected = np.dtype(dtype)
    return [
        f"{name} is {array.dtype} and the model {dtype}, convert it"
        for name, array in weights.items()
        if array.dtype != expected
    ]


def _out_of_range(weights: Mapping[str, np.ndarray]) -> list[str]:
    found = [
        f"{name} has values that are not finite" for name, array in weights.items() if not np.isfinite(array).all()
    ]
    variances = {name: array for name, array in weights.items() if name.endswith(".running_var")}
    return found or [f"{name} has a variance below 0" for name, array in variances.items() if (array < 0).any()]


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
