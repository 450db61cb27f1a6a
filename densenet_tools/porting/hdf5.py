"""Keras' files, read and written by h5py: what Keras 3 saves (.weights.h5, the same inside .keras), and the older .h5.

Nothing is unpickled or deserialized, no link is followed to another file, and no more is allocated than the
file's size: a dataset must lie in the file itself, whole and not compressed, as Keras writes it.
"""

import lzma
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import h5py
import numpy as np

from spec.errors import SpecError
from spec.files import check_readable, check_space, check_unpacked, replacing

Layers = dict[str, dict[str, np.ndarray]]  # {layer: {variable: array}}
KINDS = {4: "conv2d", 2: "dense"}  # what Keras calls a layer, by the dimensions of its kernel
MEMBER = "model.weights.h5"  # of a .keras file
# The variables of a layer in Keras' order, by how many there are: of a convolution or a Dense, and of a batch norm.
VARIABLES = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def read_keras(path: str | Path) -> Layers:
    """{layer: {variable: array}} of a .keras, .weights.h5 or legacy .h5 file; raises SpecError for one that is none."""
    check_readable(path)
    try:
        with _weights_in(Path(path)) as file, h5py.File(file, "r") as root:
            return _Reader(path, Path(path).stat().st_size).layers(root)
    except SpecError:
        raise
    except Exception as error:  # h5py has the library's errors as several of Python's
        raise SpecError(f"{path} is not a readable HDF5 file of Keras: {_line(error)}") from None


def write_keras(path: Path, layers: Layers) -> None:
    """Writes a .weights.h5 file as Keras 3 does, from {layer: {variable: array}} in the order of the model's layers.

    Raises SpecError where nothing can be written there.
    """
    numbers: Counter[str] = Counter()
    with replacing(path) as beside:
        check_space(beside, (array.nbytes for arrays in layers.values() for array in arrays.values()))
        with h5py.File(beside, "w") as file:
            for name, arrays in layers.items():
                kind = "batch_normalization" if "gamma" in arrays else KINDS[arrays["kernel"].ndim]
                number = f"_{numbers[kind]}" if numbers[kind] else ""
                numbers[kind] += 1
                variables = file.create_group(f"layers/{kind}{number}/vars")
                variables.attrs["name"] = name
                for i, variable in enumerate(VARIABLES[len(arrays)]):
                    variables[str(i)] = arrays[variable]


@contextmanager
def _weights_in(path: Path) -> Iterator[Path]:
    """The HDF5 file: the path's own, or the one inside a .keras file, a ZIP archive."""
    if path.suffix != ".keras":
        yield path
        return
    check_unpacked(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            outside = [name for name in names if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name)]
            if outside:
                raise SpecError(f"{path} is no .keras file: it has a member {outside[0]!r}, which lies outside of it")
            if names.count(MEMBER) != 1:
                raise SpecError(f"{path} is no .keras file: it has {names.count(MEMBER)} members {MEMBER}, expected 1")
            with archive.open(MEMBER) as member, NamedTemporaryFile() as file:  # not in memory, where arrays come next
                shutil.copyfileobj(member, file)
                file.flush()
                yield Path(file.name)
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SpecError(f"{path} is not a readable .keras file: {_line(error)}") from None


class _Reader:
    """Reads one file, whose size bounds what it may hold."""

    def __init__(self, path: str | Path, size: int):
        self.path, self.left = path, 4 * size

    def refused(self, why: str) -> SpecError:
        return SpecError(f"{self.path} is not a readable HDF5 file of Keras: {why}")

    def layers(self, root: h5py.File) -> Layers:
        if "layer_names" in root.attrs or "layer_names0" in root.attrs:
            return self.legacy(root)
        if "model_weights" in root:
            return self.legacy(self.group(root, "model_weights"))
        if "layers" in root:
            return dict(self.keras3(self.group(root, "layers")))
        raise self.refused("it has neither layers nor layer_names")

    def keras3(self, layers: h5py.Group) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """A group `vars` for each layer, under a running number of its class; its own name is an attribute."""
        for key in layers:
            variables = self.group(self.group(layers, key), "vars")
            if len(variables):
                name = variables.attrs.get("name")
                if not isinstance(name, str):
                    raise self.refused(f"{key} in it has no name: save the weights with Keras 3.10 or newer")
                if len(variables) not in VARIABLES:
                    raise self.refused(f"{key} in it has {len(variables)} arrays, which no layer of these networks has")
                yield name, {kind: self.dataset(variables, str(i)) for i, kind in enumerate(VARIABLES[len(variables)])}

    def legacy(self, root: h5py.Group) -> Layers:
        """A group for each layer, with the names of its weights: conv1/conv/kernel:0."""
        found: Layers = {}
        for layer in _attribute(root, "layer_names"):
            group = self.group(root, layer)
            names = _attribute(group, "weight_names")
            if names:
                short = [re.sub(r":\d+$", "", name).rpartition("/")[2] for name in names]
                found[layer] = {variable: self.dataset(group, name) for variable, name in zip(short, names)}
        return found

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        found = self._own(parent, name)
        if not isinstance(found, h5py.Group):
            raise self.refused(f"{name} in it should be a group")
        return found

    def dataset(self, parent: h5py.Group, name: str) -> np.ndarray:
        found = self._own(parent, name)
        if not isinstance(found, h5py.Dataset) or found.dtype.kind != "f" or found.shape is None:
            raise self.refused(f"{name} in {parent.name} should be an array of floats")
        if found.external or found.is_virtual:
            raise self.refused(f"{name} in {parent.name} lies in another file")
        if found.id.get_storage_size() != found.nbytes:
            raise self.refused(f"{name} in {parent.name} is compressed, or not all of it is there: save it anew")
        self.left -= found.nbytes
        if self.left < 0:
            raise self.refused("it has more values than its size can hold")
        return found[()].astype(found.dtype.newbyteorder("="), copy=False)

    def _own(self, parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        """What lies under a path in the file itself, not behind a link to another file."""
        for part in name.split("/"):
            if part not in parent and parent.get(part, getlink=True) is None:
                raise self.refused(f"it has no {name} in {parent.name}")
            if not isinstance(parent.get(part, getlink=True), h5py.HardLink):
                raise self.refused(f"{name} in {parent.name} is a link to elsewhere")
            parent = parent[part]
        return parent


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """A list of names, which Keras splits into several attributes where it is long."""
    keys = (
        [name]
        if name in group.attrs
        else [f"{name}{i}" for i in range(len(group.attrs)) if f"{name}{i}" in group.attrs]
    )
    return [text.decode() if isinstance(text, bytes) else str(text) for key in keys for text in group.attrs[key]]


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
