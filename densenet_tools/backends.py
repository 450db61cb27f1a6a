"""Finds a backend by name, and imports its framework no sooner than that."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

import spec


class Backend(Protocol):
    """What every backend exports; see densenet_torch.interop for the meaning of each."""

    def build(self, network: spec.Network, dtype: str) -> Any: ...
    def load_weights(self, model: Any, weights: spec.Weights) -> None: ...
    def export_weights(self, model: Any) -> spec.Weights: ...
    def predict(self, model: Any, images: np.ndarray) -> np.ndarray: ...
    def trace(self, model: Any, images: np.ndarray) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Entry:
    """Where a backend is, what it imports, and the packages whose versions say what it ran on."""

    package: str
    imports: tuple[str, ...]
    distributions: tuple[str, ...]


BACKENDS = {
    "numpy": Entry("spec.reference", ("numpy",), ("numpy",)),
    "torch": Entry("densenet_torch", ("torch",), ("torch",)),
    "mxnet": Entry("densenet_mxnet", ("mxnet",), ("mxnet",)),
    "keras": Entry("densenet_keras", ("keras",), ("keras", "tensorflow", "tensorflow-cpu")),
}


def installed() -> list[str]:
    """The names of the backends whose framework is installed; "numpy" always is."""
    return [name for name, entry in BACKENDS.items() if all(find_spec(module) for module in entry.imports)]


def get(name: str) -> Backend:
    """The backend of that name, imported; raises SpecError where it is unknown or its framework is missing."""
    if name not in BACKENDS:
        raise spec.SpecError(f"unknown backend {name!r}: known: {', '.join(BACKENDS)}")
    try:
        return importlib.import_module(BACKENDS[name].package)
    except ImportError as error:
        raise spec.SpecError(f"backend {name!r} cannot be used: {error}") from error


def versions(names: Iterable[str]) -> dict[str, str]:
    """{distribution: version} of the frameworks of these backends."""
    found = {}
    for distribution in (d for name in names for d in BACKENDS[name].distributions):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue  # TensorFlow comes under one name or the other
    return found
