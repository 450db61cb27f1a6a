"""Files: the neutral one."""

from pathlib import Path

from spec.checkpoint import save as save_neutral
from spec.reference.interop import Reference, build, load_weights, weights_of
from spec.sources import open as open_file


def from_file(path: str | Path, network: str | Path | None = None) -> Reference:
    """The network of a .safetensors file with its weights, computing in float64; see spec.open."""
    checkpoint = open_file(path, network)
    model = build(checkpoint.network)
    load_weights(model, {name: array.astype("float64") for name, array in checkpoint.weights.items()})
    return model


def save(path: str | Path, model: Reference) -> None:
    """Writes the network with its weights as a neutral file, in one step; see spec.save."""
    save_neutral(path, model.network, weights_of(model))
