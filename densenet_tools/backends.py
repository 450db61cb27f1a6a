"""Finds a backend by name, and imports its framework no sooner than that."""

import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

import spec
from densenet_tools.quiet import quiet

Predict = Callable[[Any, np.ndarray], np.ndarray]


class Backend(Protocol):
    """What every backend exports, the NumPy reference too; see densenet_torch for the meaning of each.

    One that does not train raises SpecError, instead.
    """

    files: ModuleType
    EXECUTORS: dict[str, Predict]
    RUNNING_UPDATE: spec.RunningUpdate

    def device(self, name: str) -> AbstractContextManager[None]: ...
    def build(self, network: spec.Network, dtype: str) -> Any: ...
    def load_weights(self, model: Any, weights: spec.Weights) -> None: ...
    def export_weights(self, model: Any) -> spec.Weights: ...
    def from_file(self, path: str | Path, network: str | Path | None) -> Any: ...
    def save(self, path: str | Path, model: Any) -> None: ...
    def predict(self, model: Any, images: np.ndarray) -> np.ndarray: ...
    def trace(self, model: Any, images: np.ndarray) -> dict[str, np.ndarray]: ...
    def loss_and_gradients(
        self, model: Any, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, spec.Weights, spec.Weights]: ...
    def sgd(self, model: Any, learning_rate: float, momentum: float, nesterov: bool, weight_decay: float) -> Any: ...
    def set_learning_rate(self, optimizer: Any, learning_rate: float) -> None: ...
    def step(
        self,
        model: Any,
        optimizer: Any,
        images: np.ndarray,
        labels: np.ndarray,
        label_smoothing: float,
        frozen_statistics: bool,
    ) -> tuple[float, np.ndarray]: ...
    def freeze(self, model: Any, names: Collection[str]) -> None: ...
    def export_velocities(self, model: Any, optimizer: Any) -> spec.Weights: ...
    def load_velocities(self, model: Any, optimizer: Any, velocities: spec.Weights) -> None: ...
    def seed_dropout(self, model: Any, seed: int) -> None: ...


@dataclass(frozen=True)
class Entry:
    """All that is known of a backend before it is imported.

    `framework` is the module it stands on, whose version says what it ran on. A framework that runs on another
    says which it has chosen (`runs_on`). `executors` are the other ways to run a model, each with the
    framework it needs below it, or None where that is the chosen one. Those in `precisions` take models in float32
    alone, and compute in what it says. `trains` says whether it has training functions, `logs` that an import writes
    to stderr.
    """

    package: str
    framework: str
    executors: Mapping[str, str | None] = field(default_factory=dict)
    runs_on: Callable[[], str | None] = lambda: None
    precisions: Mapping[str, str] = field(default_factory=dict)
    trains: bool = True
    logs: bool = False


FRAMEWORKS_OF_KERAS = ("tensorflow", "torch", "jax")
EXTRAS = {"tensorflow": "keras", "onnxruntime": "onnx"}  # what installs a framework, where it has another name


def chosen_by_keras() -> str:
    """The framework that Keras runs on, or will once it is imported; raises SpecError for an unknown one."""
    keras = sys.modules.get("keras")
    chosen = keras.config.backend() if keras else os.environ.get("KERAS_BACKEND") or "tensorflow"
    if chosen not in FRAMEWORKS_OF_KERAS:
        raise spec.SpecError(f"KERAS_BACKEND is {chosen!r}, expected one of {', '.join(FRAMEWORKS_OF_KERAS)}")
    return chosen


BACKENDS = {
    "numpy": Entry("spec.reference", "numpy"),
    "torch": Entry(
        "densenet_torch",
        "torch",
        dict.fromkeys(("compiled", "exported", "fused", "fused_compiled", "bfloat16")),
        precisions={"bfloat16": "bfloat16"},
    ),
    "mxnet": Entry("densenet_mxnet", "mxnet", {"hybridized": None, "static": None}),
    "keras": Entry(
        "densenet_keras",
        "keras",
        {"eager": None, **{framework: framework for framework in FRAMEWORKS_OF_KERAS}},
        runs_on=chosen_by_keras,
        logs=True,  # TensorFlow, of the processor's features, come what may
    ),
    "onnx": Entry(
        "densenet_onnx",
        "onnx",
        {"openvino": "openvino", "openvino_bfloat16": "openvino", "int8": None, "reference": None},
        runs_on=lambda: "onnxruntime",
        precisions={"openvino": "float32", "openvino_bfloat16": "bfloat16", "int8": "int8"},
        trains=False,
    ),
}


@dataclass(frozen=True)
class Runner:
    """A way to run networks: a backend, or another executor of its models. As text: `mxnet`, `mxnet:static`."""

    backend: str
    executor: str | None = None

    def __str__(self) -> str:
        return f"{self.backend}:{self.executor}" if self.executor else self.backend

    @property
    def entry(self) -> Entry:
        return BACKENDS[self.backend]

    @property
    def runs_on(self) -> str | None:
        """The framework below the backend's own, where there is one."""
        below = self.entry.executors[self.executor] if self.executor else None
        return below or self.entry.runs_on()

    @property
    def frameworks(self) -> list[str]:
        """The modules that must be there: the backend's framework, and those that it runs on."""
        needed = [self.entry.framework, self.entry.runs_on(), self.runs_on]
        return list(dict.fromkeys(framework for framework in needed if framework))

    @property
    def installed(self) -> bool:
        return all(find_spec(framework) for framework in self.frameworks)

    def check(self) -> None:
        """Raises SpecError unless what it needs is installed; imports nothing."""
        if not self.installed:
            extras = ",".join(dict.fromkeys(EXTRAS.get(name, name) for name in self.frameworks))
            raise spec.SpecError(f"backend '{self}' is not installed: pip install 'densenet-reference[{extras}]'")

    def load(self) -> Backend:
        """The backend, imported; raises SpecError where that is not possible."""
        first = self.entry.package not in sys.modules
        if first:
            self.check()
        try:
            with quiet() if first and self.entry.logs else nullcontext():
                return importlib.import_module(self.entry.package)
        except ImportError as error:
            raise spec.SpecError(f"backend {self.backend!r} cannot be imported: {error}") from error

    def predict(self, model: Any, images: np.ndarray) -> np.ndarray:
        """Inference: the backend's `predict`, or what the executor does in its place."""
        backend = self.load()
        return (backend.EXECUTORS[self.executor] if self.executor else backend.predict)(model, images)

    def takes(self, dtype: str) -> bool:
        """Whether it can run models of that dtype."""
        return dtype == "float32" or self.executor not in self.entry.precisions

    def precision(self, dtype: str) -> str:
        """What it computes in, for a model of that dtype: float32, float64, bfloat16 or int8."""
        return self.entry.precisions.get(self.executor or "", dtype)

    def others(self, dtype: str = "float32") -> list["Runner"]:
        """The backend's other executors for models of `dtype`, where what they need is installed."""
        same = [name for name, framework in self.entry.executors.items() if framework and framework == self.runs_on]
        others = [Runner(self.backend, name) for name in self.entry.executors if name not in same]
        return [other for other in others if other.installed and other.takes(dtype)]


def parse(text: str) -> Runner:
    """`mxnet` or `mxnet:static` as a runner; raises SpecError for an unknown one."""
    backend, _, executor = text.partition(":")
    if backend not in BACKENDS:
        raise spec.SpecError(f"unknown backend {backend!r}: known: {', '.join(BACKENDS)}")
    if executor and executor not in BACKENDS[backend].executors:
        known = ", ".join(BACKENDS[backend].executors) or "none"
        raise spec.SpecError(f"unknown executor {executor!r} of backend {backend!r}: known: {known}")
    return Runner(backend, executor or None)


def installed() -> list[Runner]:
    """The backends whose framework is installed, and what it runs on; "numpy" always is."""
    return [runner for runner in map(Runner, BACKENDS) if runner.installed]


def versions(runners: Iterable[Runner]) -> dict[str, str]:
    """{distribution: version} of the frameworks that these run on."""
    found = {}
    for framework in dict.fromkeys(framework for runner in runners for framework in runner.frameworks):
        for distribution in (framework, f"{framework}-cpu"):  # TensorFlow comes under one name or the other
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:
                continue
    return found
