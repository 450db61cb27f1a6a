"""A comparison in a folder, and what the reference makes of it: written once, read by the process of each backend."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

import spec
from densenet_tools.parity.checks import Comparison
from densenet_tools.parity.run import REFERENCE, Reference, Run, Training
from spec.families import config_type

COMPARISON, FOUND = "comparison.json", "found.json"
IMAGES, WEIGHTS = "images.npy", "weights"
LOGITS, LAYERS, GRADIENTS, STATISTICS = "logits.npy", "layers", "gradients", "statistics"


@dataclass(frozen=True)
class Found:
    """The numbers among what the reference makes; `loss` is None where no training pass was asked for."""

    seconds: float
    counts: tuple[int, int]
    loss: float | None = None


class Arrays(Mapping[str, np.ndarray]):
    """{name: array} of files in a folder, in order, in a dtype; each is in memory only while it is used."""

    def __init__(self, folder: Path, dtype: str | None = None):
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        self._files = {name: folder / f"{i}.npy" for i, name in enumerate(names)}
        self._dtype = dtype

    def __getitem__(self, name: str) -> np.ndarray:
        array = np.load(self._files[name], mmap_mode="r")
        return array.astype(self._dtype or array.dtype, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts the arrays into a new folder; raises SpecError where there is no room for them."""
    folder.mkdir()
    try:
        for i, array in enumerate(arrays.values()):
            np.save(folder / f"{i}.npy", array)
    except OSError as error:
        raise spec.SpecError(
            f"{folder} cannot be written: {error.strerror or error}; set TMPDIR to a folder with more room"
        ) from None
    (folder / "names.json").write_text(json.dumps(list(arrays)), encoding="utf-8")


def read_arrays(folder: Path, dtype: str | None = None) -> spec.Weights:
    """The arrays of a folder, which are read as a dictionary is."""
    return cast(spec.Weights, Arrays(folder, dtype))


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Puts a comparison of a network that has a config into a new folder; its weights, too, where they are given."""
    folder.mkdir()
    config = comparison.network.config
    assert config is not None
    np.save(folder / IMAGES, comparison.rounded())
    if comparison.weights is not None:
        write_arrays(folder / WEIGHTS, comparison.drawn())
    fields = {"dtype": comparison.dtype, "seed": comparison.seed, "checks": list(comparison.checks)}
    network = {"name": comparison.network.name, "config": config.model_dump(mode="json")}
    (folder / COMPARISON).write_text(json.dumps(fields | network), encoding="utf-8")


def read_comparison(folder: Path) -> Comparison:
    """The comparison, with the weights that are in its folder."""
    fields = json.loads((folder / COMPARISON).read_text(encoding="utf-8"))
    config = fields.pop("config")
    network = spec.build(config_type(config["family"])(**config), fields.pop("name"))
    weights = read_arrays(folder / WEIGHTS) if (folder / WEIGHTS).exists() else None
    return Comparison(network, np.load(folder / IMAGES), weights=weights, **fields)


def write_reference(folder: Path) -> None:
    """Runs the reference on a folder's comparison, and puts what it makes there, weights that it draws included."""
    comparison = read_comparison(folder)
    if comparison.weights is None:
        write_arrays(folder / WEIGHTS, comparison.drawn())
    exact = read_arrays(folder / WEIGHTS, "float64")
    run = Run(comparison.network, REFERENCE, "float64", exact, comparison.images)  # which keeps no layers
    logits, seconds = run.inference
    np.save(folder / LOGITS, logits)
    counts, loss = run.counts, None
    if "layers" in comparison.checks:
        write_arrays(folder / LAYERS, run.trace())
    if "gradients" in comparison.checks:
        loss, gradients, statistics = run.training
        write_arrays(folder / GRADIENTS, gradients)
        write_arrays(folder / STATISTICS, statistics)
    (folder / FOUND).write_text(json.dumps(asdict(Found(seconds, counts, loss))), encoding="utf-8")


class StoredReference(Reference):
    """The reference's run on a folder's comparison, as it was written there; what was not is computed here."""

    def __init__(self, folder: Path, comparison: Comparison):
        super().__init__(comparison.network, read_arrays(folder / WEIGHTS, "float64"), comparison.images)
        self.folder = folder
        self.found = Found(**json.loads((folder / FOUND).read_text(encoding="utf-8")))

    @cached_property
    def inference(self) -> tuple[np.ndarray, float]:
        return np.load(self.folder / LOGITS), self.found.seconds

    @cached_property
    def counts(self) -> tuple[int, int]:
        return self.found.counts

    def trace(self) -> spec.Weights:
        return read_arrays(self.folder / LAYERS) if (self.folder / LAYERS).exists() else super().trace()

    @cached_property
    def training(self) -> Training:
        assert self.found.loss is not None
        return self.found.loss, read_arrays(self.folder / GRADIENTS), read_arrays(self.folder / STATISTICS)
