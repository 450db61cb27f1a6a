"""Finds a backend by name, and imports its framework no sooner than that."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
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
    EXECUTORS: dict[str, Callable[[Any, np.ndarray], np.ndarray]]

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
    """Where a backend is, what it imports, the packages whose versions say what it ran on, and other ways to run it."""

    package: str
    imports: tuple[str, ...]
    distributions: tuple[str, ...]
    executors: tuple[str, ...] = ()


FRAMEWORKS_OF_KERAS = ("tensorflow", "torch", "jax")
BACKENDS = {
    "numpy": Entry("spec.reference", ("numpy",), ("numpy",)),
    "torch": Entry("densenet_torch", ("torch",), ("torch",), ("compiled", "exported")),
    "mxnet": Entry("densenet_mxnet", ("mxnet",), ("mxnet",), ("hybridized", "static")),
    "keras": Entry("densenet_keras", ("keras",), ("keras",), ("graph", *FRAMEWORKS_OF_KERAS)),
}


def installed() -> list[str]:
    """The names of the backends whose framework is installed, and what it runs on; "numpy" always is."""
    return [name for name in BACKENDS if _available(name)]


def _available(name: str) -> bool:
    """Whether what a known backend or executor imports, and what that runs on, is installed."""
    return all(find_spec(module) for module in BACKENDS[name.partition(":")[0]].imports + _below(name))


def _below(name: str) -> tuple[str, ...]:
    """The framework that a backend's framework runs on: the one that Keras has chosen, or will on its import."""
    name, _, executor = name.partition(":")
    if name != "keras":
        return ()
    if executor in FRAMEWORKS_OF_KERAS:
        return (executor,)
    keras = sys.modules.get("keras")
    return (keras.config.backend() if keras else os.environ.get("KERAS_BACKEND") or "tensorflow",)


def executors(name: str) -> list[str]:
    """The other ways to run a backend's models, where what they need is installed, as names: `mxnet:hybridized`."""
    others = [f"{name}:{executor}" for executor in BACKENDS[name].executors if executor not in _below(name)]
    return [other for other in others if _available(other)]


def check(name: str) -> None:
    """Raises SpecError unless the backend (or executor) is known and what it needs is installed; imports nothing."""
    backend, _, executor = name.partition(":")
    if backend not in BACKENDS:
        raise spec.SpecError(f"unknown backend {backend!r}: known: {', '.join(BACKENDS)}")
    if executor and executor not in BACKENDS[backend].executors:
        known = ", ".join(BACKENDS[backend].executors) or "none"
        raise spec.SpecError(f"unknown executor {executor!r} of backend {backend!r}: known: {known}")
    unknown = [framework for framework in _below(name) if framework not in FRAMEWORKS_OF_KERAS]
    if unknown:
        raise spec.SpecError(f"KERAS_BACKEND is {unknown[0]!r}, expected one of {', '.join(FRAMEWORKS_OF_KERAS)}")
    if not (_available(backend) and _available(name)):
        extras = ",".join([backend, *(framework for framework in _below(name) if framework in ("torch", "jax"))])
        raise spec.SpecError(f"backend {name!r} is not installed: pip install 'densenet-reference[{extras}]'")


def get(name: str) -> Backend:
    """The backend of that name (or of an executor of it), imported; raises SpecError where that is not possible."""
    check(name)
    name = name.partition(":")[0]
    try:
        with _quiet():
            return importlib.import_module(BACKENDS[name].package)
    except ImportError as error:
        raise spec.SpecError(f"backend {name!r} cannot be imported: {error}") from error


def predictor(name: str) -> Callable[[Any, np.ndarray], np.ndarray]:
    """What runs inference: the backend's `predict`, or its executor's function for `torch:compiled`."""
    executor = name.partition(":")[2]
    return get(name).EXECUTORS[executor] if executor else get(name).predict


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
    """{distribution: version} of the frameworks of these backends, and of what Keras runs on."""
    names = list(names)
    below = [framework for name in names for framework in _below(name)]
    if "tensorflow" in below:
        below.append("tensorflow-cpu")
    found = {}
    for distribution in [*(d for name in names for d in BACKENDS[name.partition(":")[0]].distributions), *below]:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            continue  # TensorFlow comes under one name or the other
    return found
