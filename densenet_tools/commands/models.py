"""A model with its weights, as the commands that look at one name it: a run or a file, and what runs it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import backends
from densenet_tools.data import preprocessing_for
from densenet_tools.training import weights_of

Source = Annotated[Path, Parameter(help="A run's folder, whose best weights are taken, or a .safetensors file.")]
RunBy = Annotated[str, Parameter(name="--backend", help="What runs it: torch, mxnet, keras, numpy, or an executor.")]
Device = Annotated[str, Parameter(help="cpu, gpu or gpu:N.")]


@dataclass(frozen=True)
class Opened:
    """A model in a backend, and all that its file says; `preprocessing` is a guess where it does not say that."""

    runner: backends.Runner
    model: Any
    checkpoint: spec.Checkpoint

    def predict(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.runner.predict(self.model, images)

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes, or their numbers where the file has no names."""
        return self.checkpoint.classes or [f"class {i}" for i in range(self.checkpoint.network.num_classes or 0)]


@contextmanager
def opened(source: Path, backend: str, device: str, data: str | None = None) -> Iterator[Opened]:
    """The model of a file, on a device; without preprocessing of its own it gets that for `data`, with a warning."""
    runner = backends.parse(backend)
    runner.check()
    path = weights_of(source)
    checkpoint = spec.open(path)
    if checkpoint.preprocessing is None:
        channels, size, _ = checkpoint.network.input_shape
        checkpoint = replace(checkpoint, preprocessing=preprocessing_for(data or "a folder", size, channels))
        warnings.warn(
            f"{path} does not say how images are prepared for it: they are as {data or 'photographs'} are by default",
            spec.SpecWarning,
            stacklevel=2,
        )
    package = runner.load()
    with package.device(device):
        model = package.build(checkpoint.network, checkpoint.dtype)
        package.load_weights(model, checkpoint.weights)
        yield Opened(runner, model, checkpoint)
