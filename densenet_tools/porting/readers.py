"""Weights of any kind of file, under canonical names: whose they are is told from the names."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.porting.formats import Format
from densenet_tools.porting.hdf5 import read_keras
from densenet_tools.porting.names import GLUON, KERAS, canonical_layers
from densenet_tools.porting.params import read_params
from densenet_tools.porting.peers import FIXED
from spec import tensors
from spec.checkpoint import COUNTED, is_neutral, read as read_neutral, without_prefix
from spec.weights import check_kinds

# Keras' kernels are (height, width, in, out) and (in, out).
FROM_KERAS = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
MARK = "features.denseblock1.denselayer1.norm1"  # all DenseNets have it, and of the others none a layer of its names
IMAGENET = spec.Preprocessing()  # as torchvision's table of weights and the documentation of MXNet's model zoo have it
# keras.applications.densenet.preprocess_input, whose mode is "torch", behind load_img, which resizes to the nearest.
OF_APPLICATIONS = spec.Preprocessing(resize=None, interpolation="nearest")


@dataclass(frozen=True)
class Found:
    """What a file holds: arrays under canonical names, and what goes with them.

    `format` says which implementation's they are; `fields` are those of the config that it is known for,
    `preprocessing` is what it publishes, if anything. `checkpoint` is a neutral file's.
    """

    format: Format
    weights: spec.Weights = field(repr=False)
    fields: Mapping[str, object] = field(default_factory=dict)
    preprocessing: spec.Preprocessing | None = None
    checkpoint: spec.Checkpoint | None = field(default=None, repr=False)


def read(path: Path, format: Format) -> Found:
    """What a file of that format holds, which may turn out to be a peer's; raises SpecError for one that is none."""
    if format not in READERS:
        raise spec.SpecError(f"{path} has no weights: a {format.value} is written only")
    found = READERS[format](path)
    wide = {name: array.astype("float32") if array.itemsize == 2 else array for name, array in found.weights.items()}
    if any(array.itemsize == 2 for array in found.weights.values()):
        warnings.warn(f"{path} holds float16, read as float32: each value is the same", spec.SpecWarning, stacklevel=3)
    check_kinds(path, {name: str(array.dtype) for name, array in wide.items()})
    return replace(found, weights=wide)


def _neutral(path: Path) -> Found:
    header = tensors.read_header(path)
    if is_neutral(header):
        checkpoint = read_neutral(path)
        return Found(Format.NEUTRAL, checkpoint.weights, {}, checkpoint.preprocessing, checkpoint)
    names = [name for name in header.shapes if name.rpartition(".")[2] != COUNTED]
    return Found(Format.NEUTRAL, without_prefix(tensors.read_arrays(header, names)[0]))


def _torch(path: Path) -> Found:
    return Found(Format.TORCH, backends.parse("torch").load().files.read_checkpoint(path))


def _keras(path: Path) -> Found:
    layers = read_keras(path)
    names = canonical_layers("applications", layers)
    theirs = MARK in names.values()
    _check_known(path, layers, names if theirs else None)
    pairs = []
    for layer in list(layers):
        for variable, array in layers.pop(layer).items():  # so that no more than one array is there twice
            if variable not in KERAS:
                raise spec.SpecError(f"{path}: {layer} has an array {variable}, which no layer of these networks has")
            if array.ndim not in FROM_KERAS:
                raise spec.SpecError(
                    f"{path}: {layer} has an array {variable} of {array.ndim} dimensions: 1, 2 or 4 do"
                )
            name = f"{names[layer] if theirs else layer}.{KERAS[variable]}"
            pairs.append((name, np.ascontiguousarray(array.transpose(FROM_KERAS[array.ndim]))))
    weights = _by_name(path, pairs)
    if theirs:
        return Found(Format.APPLICATIONS, weights, {"eps": FIXED[Format.APPLICATIONS]["eps"]}, OF_APPLICATIONS)
    return Found(Format.KERAS, weights)


def _gluon(path: Path) -> Found:
    """By structure (features.0.weight), or by prefix (densenet0_conv0_weight), with arg: and aux: where exported."""
    arrays = _by_name(path, [(re.sub(r"^(arg|aux):", "", name), array) for name, array in read_params(path).items()])
    structural = any("." in name for name in arrays)
    if structural:
        parts = {name: tuple(name.rpartition(".")[::2]) for name in arrays}
    else:
        bare = {name: re.sub(r"^densenet\d+_", "", name) for name in arrays}
        parts = {name: tuple(re.split("_(?=(?:running_)?[a-z]+$)", text, maxsplit=1)) for name, text in bare.items()}
        for name in (name for name, found in parts.items() if len(found) != 2):
            raise spec.SpecError(f"{path}: {name} is no name of a parameter: its weights cannot be placed")
    layers = [layer for layer, _ in parts.values()]
    names = canonical_layers("zoo" if structural else "zoo_prefixed", layers)
    theirs = MARK in names.values()
    _check_known(path, layers, names if theirs or not structural else None)
    pairs = [
        (f"{names[layer] if theirs else layer}.{GLUON.get(last, last)}", arrays[name])
        for name, (layer, last) in parts.items()
    ]
    weights = _by_name(path, pairs)
    return Found(Format.ZOO, weights, {}, IMAGENET) if theirs else Found(Format.GLUON, weights)


READERS: dict[Format, Callable[[Path], Found]] = {
    Format.NEUTRAL: _neutral,
    Format.TORCH: _torch,
    Format.KERAS: _keras,
    Format.APPLICATIONS: _keras,
    Format.GLUON: _gluon,
    Format.ZOO: _gluon,
}


def _by_name(path: Path, pairs: list[tuple[str, np.ndarray]]) -> spec.Weights:
    """{name: array}; raises SpecError where two arrays of a file have the same name in the end."""
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise spec.SpecError(f"{path}: {name} stands twice in it, under names of two kinds")
    return found


def _check_known(path: Path, layers: Iterable[str], names: Mapping[str, str] | None) -> None:
    """Raises SpecError for a layer that the implementation whose names the others have does not know."""
    unknown = [layer for layer in layers if names is not None and layer not in names]
    if unknown:
        raise spec.SpecError(f"{path}: a DenseNet has no layer {unknown[0]}: its weights cannot be placed")
