"""A stranger's model: recorded, read and written by the backend of its framework, which is imported here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.diagnosis.loading import framework_of
from spec.recording import Recording, Training

Arrays = Mapping[str, np.ndarray]


class Recorder(Protocol):
    """The module `recording` of a backend."""

    def record(self, model: Any, images: np.ndarray, training: bool) -> Recording: ...
    def record_training(self, model: Any, images: np.ndarray, labels: np.ndarray) -> Training: ...
    def descend(
        self, model: Any, optimizer: Any, gradients: Sequence[Arrays], factor: float
    ) -> list[dict[str, np.ndarray]]: ...
    def arrays(self, model: Any) -> dict[str, np.ndarray]: ...
    def assign(self, model: Any, values: Arrays) -> None: ...


class Suspect:
    """A model of PyTorch, Gluon or Keras; raises SpecError for anything else."""

    def __init__(self, model: Any) -> None:
        framework = framework_of(model)
        if framework is None:
            raise spec.SpecError(f"the model is a {type(model).__name__}, expected one of PyTorch, Gluon or Keras")
        runner = backends.parse(framework)
        self.model, self.framework = model, framework
        self.running_update = runner.load().RUNNING_UPDATE
        self.recorder: Recorder = import_module(f"{runner.entry.package}.recording")

    def record(self, images: np.ndarray, training: bool = False) -> Recording:
        """A pass of images (N, C, H, W); raises SpecError where the model cannot take them."""
        with _strange(f"run on images {_size(images)}"):
            return self.recorder.record(self.model, images, training)

    def record_training(self, images: np.ndarray, labels: np.ndarray) -> Training:
        """A training pass of images (N, C, H, W) with labels (N,); raises SpecError where the model cannot make it."""
        with _strange(f"trained on images {_size(images)}"):
            return self.recorder.record_training(self.model, images, labels)

    def descend(self, optimizer: Any, gradients: Sequence[Arrays], factor: float) -> list[dict[str, np.ndarray]]:
        """The parameters after each step of an optimizer with these gradients; raises SpecError where it fails."""
        with _strange("moved by its optimizer"):
            return self.recorder.descend(self.model, optimizer, gradients, factor)

    def arrays(self) -> dict[str, np.ndarray]:
        """{the model's own name: array in canonical layout}; complete once the model was recorded."""
        return self.recorder.arrays(self.model)

    @contextmanager
    def holding(self, values: Arrays) -> Iterator[None]:
        """The model with other arrays within, and with its own again after."""
        before = self.arrays()
        try:
            self.recorder.assign(self.model, values)
            yield
        finally:
            self.recorder.assign(self.model, {name: before[name] for name in values})


@contextmanager
def _strange(what: str) -> Iterator[None]:
    """A stranger's code may raise anything."""
    try:
        yield
    except spec.SpecError:
        raise
    except Exception as error:
        raise spec.SpecError(f"the model cannot be {what}: {type(error).__name__}: {error}") from error


def _size(images: np.ndarray) -> str:
    return "x".join(map(str, images.shape))
