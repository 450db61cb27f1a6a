"""Finds a backend by name, and imports its framework no sooner than that."""

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

import spec


class Backend(Protocol):
    """What every backend exports; see densenet_torch.interop for the meaning of each."""

    RUNNING_UPDATE: spec.RunningUpdate

    def build(self, network: spec.Network, dtype: str) -> Any: ...
    def load_weights(self, model: Any, weights: spec.Weights) -> None: ...
    def export_weights(self, model: Any) -> spec.Weights: ...
    def predict(self, model: Any, images: np.ndarray) -> np.ndarray: ...
    def trace(self, model: Any, images: np.ndarray) -> dict[str, np.ndarray]: ...
    def loss_and_gradients(
        self, model: Any, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, spec.Weights, spec.Weights]: ...


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


def check(name: str) -> None:
    """Raises SpecError unless the backend is known and its framework installed; imports neither."""
    if name not in BACKENDS:
        raise spec.SpecError(f"unknown backend {name!r}: known: {', '.join(BACKENDS)}")
    if name not in installed():
        raise spec.SpecError(f"backend {name!r} is not installed: pip install 'densenet-reference[{name}]'")


def get(name: str) -> Backend:
    """The backend of that name, imported; raises SpecError where that is not possible."""
    check(name)
    try:
        with _quiet():
            return importlib.import_module(BACKENDS[name].package)
    except ImportError as error:
        raise spec.SpecError(f"backend {name!r} cannot be imported: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops what is written to the process's stderr: on import TensorFlow logs CPU features there, come what may."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def versions(names: Iterable[str]) -> dict[str, str]:
    """{distribution: version} of the frameworks of these backends."""
    found = {}
    for distribution in (d for name in names for d in BACKENDS[name].distributions):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue  # TensorFlow comes under one name or the other
    return found
