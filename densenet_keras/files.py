"""Files: the neutral one, and Keras' own models and weights."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import keras

import spec
from densenet_keras.interop import load_weights
from densenet_keras.model import build
from spec.files import check_space, replacing

SUFFIXES = (".keras", ".weights.h5")


def from_file(path: str | Path, network: str | Path | None = None) -> keras.Model:
    """The model of a .safetensors file with its weights, in their dtype; see spec.open."""
    checkpoint = spec.open(path, network)
    model = build(checkpoint.network, dtype=checkpoint.dtype)
    load_weights(model, checkpoint.weights)
    return model


def save(path: str | Path, model: keras.Model) -> None:
    """Writes the model as a .keras file, or its weights as a .weights.h5 file, in one step."""
    if not str(path).endswith(SUFFIXES):
        raise spec.SpecError(f"the name of a Keras file ends in {' or '.join(SUFFIXES)}, found {str(path)!r}")
    with replacing(path) as beside:
        check_space(beside, (keras.ops.convert_to_numpy(each).nbytes for each in model.variables))
        model.save(beside) if beside.suffix == ".keras" else model.save_weights(beside)


def reopened(path: str | Path, network: spec.Network, dtype: str = "float32") -> keras.Model:
    """A model with the weights of a .keras or .weights.h5 file, loaded as Keras itself does.

    The model inside a .keras file is not: it may hold code.
    """
    model = build(network, dtype)
    load_native(model, path)
    return model


def load_native(model: keras.Model, path: str | Path) -> None:
    """The model's own load_weights, of what is inside a .keras file, too."""
    if Path(path).suffix != ".keras":
        model.load_weights(path)
        return
    with TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        model.load_weights(archive.extract("model.weights.h5", folder))
