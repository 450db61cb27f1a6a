"""Folders of images: a folder for each class, in `train` and `test` where there are two parts."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from densenet_tools.data.dataset import ImageFiles, Splits, listed
from densenet_tools.data.readable import only_readable
from spec.errors import SpecError, SpecWarning

PARTS = ("train", "test", "val")


def image_folder(folder: Path, skip_unreadable: bool = False, classes: Sequence[str] | None = None) -> Splits:
    """The images of `folder/class`, all to train on, or those of `folder/train/class` and `folder/test/class`.

    One of the two parts may be missing; `val` stands in for a missing `test`. Folders below a class belong to it,
    hidden files to nothing. Classes are in the order of `classes`, else of their names. Raises SpecError for a folder
    that is not like that, for other classes, and for images that cannot be read, unless they are to be skipped.
    """
    found = {part: _labeled(place) for part, place in _parts(folder).items()}
    if len(found) == 2:
        found["test"] = found["test"].with_classes(found["train"].classes, whose=found["train"].name)
    if classes is not None:
        found = {part: dataset.with_classes(classes) for part, dataset in found.items()}
    found = {part: only_readable(dataset, skip_unreadable) for part, dataset in found.items()}  # the slow part
    for dataset in found.values():
        _check_filled(dataset)
    # what Pillow warns of in these files is known by now; catch_warnings is no choice for the threads that read them
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return Splits(found.get("train"), found.get("test"))


def _parts(folder: Path) -> dict[str, Path]:
    """{train, test: the folder that has the classes}."""
    if not os.path.isdir(folder):
        raise SpecError(f"{folder} is not a folder" if os.path.exists(folder) else f"{folder} does not exist")
    found = {place.name: place for place in _folders(folder)}
    parts = {name: found.pop(name) for name in PARTS if name in found}
    if not parts:
        return {"train": folder}
    if found:
        raise SpecError(
            f"{folder} holds {', '.join(parts)} beside other folders ({listed(list(found))}): "
            "it should hold the classes, or train and test, which hold the classes"
        )
    if "val" in parts:
        left = parts.pop("val")
        if parts.setdefault("test", left) != left:
            warnings.warn(f"{left} is left aside: {parts['test']} is there to test on", SpecWarning, stacklevel=3)
    return parts


def _labeled(folder: Path) -> ImageFiles:
    """The images of all classes, class by class; other files are mentioned and left aside."""
    classes, suffixes = _classes(folder), Image.registered_extensions()
    found: list[list[Path]] = []
    others: list[Path] = []
    for place in classes:
        files = list(_files(place, around=folder))
        found.append([path for path in files if path.suffix.lower() in suffixes])
        others += [path for path in files if path.suffix.lower() not in suffixes]
    if others:
        warnings.warn(
            f"{len(others)} files in {folder} are left aside, their names end in no image format's: {listed(others)}",
            SpecWarning,
            stacklevel=4,
        )
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in found])
    names = tuple(place.name for place in classes)
    dataset = ImageFiles(str(folder), names, labels, tuple(path for paths in found for path in paths))
    _check_filled(dataset)
    return dataset


def _classes(folder: Path) -> list[Path]:
    """The folders of the classes."""
    found = _folders(folder)
    if not found:
        raise SpecError(
            f"{folder} holds no folders: images are expected in a folder for each class ({folder}/cat/1.jpg)"
        )
    if len(found) == 1:
        raise SpecError(f"{folder} holds one class only, {found[0].name!r}: two or more are expected")
    for place in found:
        if not place.name.isprintable():
            raise SpecError(f"{folder} holds the class {place.name!r}, whose name cannot be printed: rename it")
    return found


def _folders(folder: Path) -> list[Path]:
    """Those directly in it, by name, without hidden ones."""
    try:
        return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    except OSError as error:
        _refuse(error)


def _files(folder: Path, around: Path) -> Iterator[Path]:
    """All files in it and below, in order, without hidden ones.

    Links are followed, but into no folder twice, and into none around the classes: not all in it is of this one.
    """
    entered = {around.resolve(), *around.resolve().parents}
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        where = Path(place).resolve()
        folders[:] = [] if where in entered else sorted(name for name in folders if not name.startswith("."))
        if where not in entered:
            yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
        entered.add(where)


def _refuse(error: OSError) -> NoReturn:
    raise SpecError(f"{error.filename} cannot be listed: {error.strerror}") from None


def _check_filled(dataset: ImageFiles) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    empty = [name for name, count in zip(dataset.classes, counts) if not count]
    if empty:
        raise SpecError(
            f"{dataset.name} has no images of {listed([repr(name) for name in empty])}: add some, or remove the folder"
        )
