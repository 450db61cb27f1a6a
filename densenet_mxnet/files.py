"""Files: the neutral one, and Gluon's own parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mxnet as mx

import spec
from densenet_mxnet.arrays import held_in, legacy_arrays
from densenet_mxnet.interop import load_weights
from densenet_mxnet.model import ConvNet, build
from spec.files import replacing

SUFFIXES = (".params",)


def from_file(path: str | Path, network: str | Path | None = None) -> ConvNet:
    """The model of a .safetensors file with its weights, in their dtype; see spec.open."""
    checkpoint = spec.open(path, network)
    model = build(checkpoint.network, dtype=checkpoint.dtype)
    load_weights(model, checkpoint.weights)
    return model


def save(path: str | Path, model: ConvNet) -> None:
    """Writes the model's parameters as a .params file, in one step."""
    if Path(path).suffix not in SUFFIXES:
        raise spec.SpecError(f"a file of parameters has a name that ends in .params, found {str(path)!r}")
    with replacing(path) as beside, whole(beside), held_in(model, numpy=False):
        model.save_parameters(str(beside))


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Raises OSError where a file that is written within the block is not whole in the end.

    Of a full disk MXNet tells in its own words, or, where it is the last bytes that are missing, not at all.
    """
    try:
        yield
        with legacy_arrays():
            mx.nd.load(str(path))
    except mx.base.MXNetError:
        raise OSError("MXNet wrote only a part of it: is the disk full?") from None


def reopened(path: str | Path, network: spec.Network, dtype: str = "float32") -> ConvNet:
    """A model with the parameters of a .params file, loaded as Gluon itself does."""
    model = build(network, dtype)
    model.load_parameters(str(path))
    return model
