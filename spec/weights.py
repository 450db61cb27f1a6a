"""Weights on their way in: checked as a whole before anything is assigned, and read from safetensors files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spec.errors import SpecError
from spec.parameters import Weights
from spec.shapes import Shapes

LISTED = 3  # names that a message spells out before it says how many more there are


def check_weights(weights: Mapping[str, np.ndarray], expected: Shapes, dtype: str) -> None:
    """Raises SpecError unless `weights` has just the names, shapes and dtype expected, all values finite."""
    if not isinstance(weights, Mapping):
        raise SpecError(f"weights must be a mapping of names to arrays, found {type(weights).__name__}")
    missing = [name for name in expected if name not in weights]
    unexpected = [str(name) for name in weights if name not in expected]
    if missing or unexpected:
        names = {"missing": missing, "unexpected": unexpected}
        sentence = "; ".join(f"{what} {_listed(found)}" for what, found in names.items() if found)
        raise SpecError(f"weights do not fit, nothing was loaded: {sentence}")
    problems = _misshapen(weights, expected) or _mistyped(weights, dtype) or _not_finite(weights)
    if problems:
        raise SpecError(f"weights do not fit, nothing was loaded: {_listed(problems)}")


def read_weights(path: str | Path) -> Weights:
    """{name: array} from a safetensors file; raises SpecError for a file that is not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if Path(path).suffix != ".safetensors":
        raise SpecError(
            f"weights must be the path of a .safetensors file with canonical names, found {str(path)!r}: "
            "no weights are hosted or downloaded"
        )
    try:
        return load_file(path)
    except FileNotFoundError:
        raise SpecError(f"weights file {path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise SpecError(f"{path} is not a readable safetensors file: {error}") from None


def _misshapen(weights: Mapping[str, np.ndarray], expected: Shapes) -> list[str]:
    return [
        f"{name} has shape {np.shape(weights[name])}, expected {shape}"
        for name, shape in expected.items()
        if np.shape(weights[name]) != shape
    ]


def _mistyped(weights: Mapping[str, np.ndarray], dtype: str) -> list[str]:
    found = {name: str(getattr(array, "dtype", type(array).__name__)) for name, array in weights.items()}
    return [f"{name} is {kind} and the model {dtype}, convert it" for name, kind in found.items() if kind != dtype]


def _not_finite(weights: Mapping[str, np.ndarray]) -> list[str]:
    return [f"{name} has values that are not finite" for name, array in weights.items() if not np.isfinite(array).all()]


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
