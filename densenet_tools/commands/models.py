"""What the commands that look at a model name: a run or a file with its weights, what runs it, and a data set."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import backends
from densenet_tools.commands import files
from densenet_tools.data import Dataset, ImageFiles, open_data, preprocessing_for
from densenet_tools.data.fashion import NAME as FASHION_MNIST
from densenet_tools.training import weights_of

Source = Annotated[Path, Parameter(help="A run's folder, whose best weights are taken, or a .safetensors file.")]
RunBy = Annotated[
    str, Parameter(name="--backend", help="What runs it: torch, mxnet, keras, onnx, numpy, or an executor.")
]
Device = Annotated[str, Parameter(help="cpu, gpu or gpu:N.")]


@dataclass(frozen=True)
class Opened:
    """A model in a backend, and all that its file says; `preprocessing` is a guess where it does not say that."""

    path: Path
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
        kind = FASHION_MNIST if data == FASHION_MNIST else "photographs"
        checkpoint = replace(checkpoint, preprocessing=preprocessing_for(kind, size, channels))
        warnings.warn(
            f"{path} does not say how images are prepared for it: that is done as is usual for {kind}",
            spec.SpecWarning,
            stacklevel=3,
        )
    package = runner.load()
    with package.device(device):
        model = package.build(checkpoint.network, checkpoint.dtype)
        package.load_weights(model, checkpoint.weights)
        yield Opened(path, runner, model, checkpoint)


def dataset_for(
    it: Opened,
    data: str,
    data_dir: Path | None,
    outputs: Mapping[str, Path | None],
    skip_unreadable: bool = False,
) -> Dataset:
    """A data set's images to test on, else all, labeled as the model's outputs are.

    Where the model's file does not name its classes, those of the data set are taken for them, with a warning. Raises
    SpecError where they are not as many, or others than it names, and where an output, {option: path}, is one of the
    images.
    """
    splits = open_data(data, data_dir, skip_unreadable, it.checkpoint.classes)
    test = splits.test or splits.train
    assert test is not None
    files.check(outputs, _read_for(test, data_dir))
    if it.checkpoint.classes is None:
        found, expected = len(test.classes), it.checkpoint.network.num_classes
        if found != expected:
            raise spec.SpecError(
                f"{test.name} has {found} classes, {it.path} tells {expected} apart, without names: name other data"
            )
        warnings.warn(
            f"{it.path} does not name its classes: they are taken for those of {test.name}, in its order",
            spec.SpecWarning,
            stacklevel=2,
        )
    return test


def _read_for(dataset: Dataset, data_dir: Path | None) -> Iterator[Path]:
    """The files that a data set is read from."""
    if isinstance(dataset, ImageFiles):
        yield from dataset.paths
    if data_dir is not None:
        yield from data_dir.iterdir()
