"""Weights on their way in: checked as a whole before anything is assigned, and read from safetensors files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spec.errors import SpecError
from spec.parameters import Weights
from spec.shapes import Shapes

KINDS = ("F32", "F64", "float32", "float64")  # as safetensors and checkpoints call them
LISTED = 3  # names that a message spells out before it says how many more there are


def check_weights(weights: Mapping[str, np.ndarray], expected: Shapes, dtype: str) -> None:
    """Raises SpecError unless `weights` has just the names, shapes and dtype expected, with values that can be right.

    They are finite, and variances not below 0. Byte order is the machine's; memory may lie in any order.
    """
    if not isinstance(weights, Mapping):
        raise SpecError(f"weights must be a mapping of names to arrays, found {type(weights).__name__}")
    missing = [name for name in expected if name not in weights]
    unexpected = [str(name) for name in weights if name not in expected]
    if missing or unexpected:
        names = {"missing": missing, "unexpected": unexpected}
        sentence = "; ".join(f"{what} {_listed(found)}" for what, found in names.items() if found)
        raise SpecError(f"weights do not fit, nothing was loaded: {sentence}")
    problems = (
        _no_arrays(weights) or _misshapen(weights, expected) or _mistyped(weights, dtype) or _out_of_range(weights)
    )
    if problems:
        raise SpecError(f"weights do not fit, nothing was loaded: {_listed(problems)}")


def read_weights(path: str | Path) -> Weights:
    """{name: array} from a safetensors file; raises SpecError for a file that is not one."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    if Path(path).suffix != ".safetensors":
        raise SpecError(
            f"weights must be the path of a .safetensors file with canonical names, found {str(path)!r}: "
            "no weights are hosted or downloaded"
        )
    try:
        with safe_open(path, "numpy") as file:
            check_kinds(path, {name: file.get_slice(name).get_dtype() for name in file.keys()})  # noqa: SIM118
        return load_file(path)
    except FileNotFoundError:
        raise SpecError(f"weights file {path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise SpecError(f"{path} is not a readable safetensors file: {error}") from None


def check_kinds(path: str | Path, kinds: Mapping[str, str]) -> None:
    """Raises SpecError unless what a file holds, {name: dtype or type}, can be a network's weights."""
    other = [f"{name} is {kind}" for name, kind in kinds.items() if kind not in KINDS]
    if other:
        raise SpecError(f"{path} must hold arrays of float32 or float64, found {_listed(other)}: convert them")


def _no_arrays(weights: Mapping[str, object]) -> list[str]:
    return [
        f"{name} is a {type(found).__name__}, expected a NumPy array"
        for name, found in weights.items()
        if not isinstance(found, np.ndarray)
    ]


def _misshapen(weights: Mapping[str, np.ndarray], expected: Shapes) -> list[str]:
    return [
        f"{name} has shape {weights[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if weights[name].shape != shape
    ]


def _mistyped(weights: Mapping[str, np.ndarray], dtype: str) -> list[str]:
    found = {name: str(array.dtype) for name, array in weights.items()}
    return [f"{name} is {kind} and the model {dtype}, convert it" for name, kind in found.items() if kind != dtype]


def _out_of_range(weights: Mapping[str, np.ndarray]) -> list[str]:
    found = [
        f"{name} has values that are not finite" for name, array in weights.items() if not np.isfinite(array).all()
    ]
    variances = {name: array for name, array in weights.items() if name.endswith(".running_var")}
    return found or [f"{name} has a variance below 0" for name, array in variances.items() if (array < 0).any()]


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
