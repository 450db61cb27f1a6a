"""A stranger's model: recorded, read and written by the backend of its framework, which is imported here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.diagnosis.loading import framework_of
from spec.recording import Recording


class Recorder(Protocol):
    """The module `recording` of a backend."""

    def record(self, model: Any, images: np.ndarray, training: bool) -> Recording: ...
    def arrays(self, model: Any) -> dict[str, np.ndarray]: ...
    def assign(self, model: Any, values: Mapping[str, np.ndarray]) -> None: ...


class Suspect:
    """A model of PyTorch, Gluon or Keras; raises SpecError for anything else."""

    def __init__(self, model: Any) -> None:
        framework = framework_of(model)
        if framework is None:
            raise spec.SpecError(f"the model is a {type(model).__name__}, expected one of PyTorch, Gluon or Keras")
        runner = backends.parse(framework)
        runner.load()
        self.model = model
        self.recorder: Recorder = import_module(f"{runner.entry.package}.recording")

    def record(self, images: np.ndarray, training: bool = False) -> Recording:
        """A pass of images (N, C, H, W); raises SpecError where the model cannot take them."""
        try:
            return self.recorder.record(self.model, images, training)
        except spec.SpecError:
            raise
        except Exception as error:  # whatever a stranger's model raises
            size, what = "x".join(map(str, images.shape)), f"{type(error).__name__}: {error}"
            raise spec.SpecError(f"the model cannot be run on images {size}: {what}") from error

    def arrays(self) -> dict[str, np.ndarray]:
        """{the model's own name: array in canonical layout}; complete once the model was recorded."""
        return self.recorder.arrays(self.model)

    @contextmanager
    def holding(self, values: Mapping[str, np.ndarray]) -> Iterator[None]:
        """The model with other arrays within, and with its own again after."""
        before = self.arrays()
        try:
            self.recorder.assign(self.model, values)
            yield
        finally:
            self.recorder.assign(self.model, {name: before[name] for name in values})
