"""`densenet predict`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

import spec
from densenet_tools import figures
from densenet_tools.commands import arguments, files, tables
from densenet_tools.commands.models import Device, Opened, RunBy, Source, dataset_for, opened
from densenet_tools.commands.text import printable
from densenet_tools.data import Dataset, ImageFiles, batches
from densenet_tools.figures.grid import MOST, grid as drawn
from densenet_tools.training import weights_of

TOP, BATCH = 5, 64


def predict(
    source: Source,
    /,
    *images: Annotated[Path, Parameter(help="Photographs.", json_list=False)],
    data: Annotated[
        str | None, Parameter(help="Test images of this data set instead: fashion-mnist, or a folder.")
    ] = None,
    data_dir: Annotated[Path | None, Parameter(help="Folder of Fashion-MNIST's files, if not installed.")] = None,
    count: Annotated[int, Parameter(help="How many of --data, the first ones.")] = 24,
    backend: RunBy = "torch",
    device: Device = "cpu",
    grid: Annotated[Path | None, Parameter(help="Also draw the images with their classes into this file.")] = None,
    theme: Annotated[figures.Theme, Parameter(help="What is behind the picture.")] = "light",
    as_json: arguments.PrintJson = False,
) -> int:
    """Predict the classes of photographs: the five likeliest of each, by name.

    True classes are shown beside them where they are known: for images of --data, and for files in a folder that
    has a class's name.

    Example: densenet predict runs/first --data fashion-mnist --grid grid.png
    """
    if bool(images) == (data is not None):
        raise spec.SpecError("predict needs photographs, or --data with a data set: name one of the two")
    if data_dir and data is None:
        raise spec.SpecError("--data-dir is for the files of --data fashion-mnist: leave it out with photographs")
    if count < 1:
        raise spec.SpecError(f"--count must be at least 1, found {count}")
    if grid:
        figures.check(grid)
        if (count if data else len(images)) > MOST:
            raise spec.SpecError(f"--grid has room for {MOST} images: set --count, or name fewer")
    files.check({"--grid": grid}, [weights_of(source), *images])
    with opened(source, backend, device, data) as it:
        if data is None:
            dataset, true = _photographs(it, images)
        else:
            dataset, true = _first(dataset_for(it, data, data_dir, {"--grid": grid}), count)
        probabilities = _probabilities(it, dataset)
    rows = [_likeliest(each, dataset.classes) for each in probabilities]
    names = [dataset.source(i) for i in range(len(dataset))]
    if as_json:
        print(json.dumps([_told(*each) for each in zip(names, true, rows)], indent=2))
    else:
        title = f"{it.checkpoint.network.name} in {it.runner}"
        tables.show(tables.predictions_table(title, list(map(printable, names)), true, rows))
    if grid:
        known = [name for name in true if name is not None] if None not in true else None
        pictures = [dataset.image(i) for i in range(len(dataset))]
        files.write(grid, drawn(pictures, [row[0][0] for row in rows], known, grid.suffix[1:], theme))
        if not as_json:
            print(f"written: {printable(grid)}")
    return 0


def _photographs(it: Opened, images: tuple[Path, ...]) -> tuple[Dataset, list[str | None]]:
    """The images of these files, and the class of each whose folder has the name of one."""
    folders = [path.resolve().parent.name for path in images]
    dataset = ImageFiles("photographs", tuple(it.classes), np.zeros(len(images), np.int64), images)
    return dataset, [name if name in it.classes else None for name in folders]


def _first(dataset: Dataset, count: int) -> tuple[Dataset, list[str | None]]:
    """The first images of a data set, and the class of each."""
    first = dataset.subset(np.arange(min(count, len(dataset))))
    return first, [dataset.classes[label] for label in first.labels]


def _probabilities(it: Opened, dataset: Dataset) -> np.ndarray:
    """(N, num_classes)."""
    network, preprocessing = it.checkpoint.network, it.checkpoint.preprocessing
    assert preprocessing is not None
    ahead = batches(dataset, preprocessing, network.in_channels, BATCH, it.checkpoint.dtype)
    outputs = np.concatenate([it.predict(images) for images, _ in ahead]).astype(np.float64)
    if not np.isfinite(outputs).all():
        first = dataset.source(int(np.isfinite(outputs).all(axis=1).argmin()))
        raise spec.SpecError(f"{it.path} gives outputs that are not finite for {first}: check its weights")
    if not network.gives_logits:
        return outputs
    exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _likeliest(probabilities: np.ndarray, classes: Sequence[str]) -> list[tuple[str, float]]:
    return [(classes[i], float(probabilities[i])) for i in np.argsort(-probabilities, kind="stable")[:TOP]]


def _told(name: str, true: str | None, row: list[tuple[str, float]]) -> dict[str, Any]:
    return {"image": name, "true": true, "predicted": [{"class": label, "probability": p} for label, p in row]}
