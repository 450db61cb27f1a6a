"""Files: the neutral one."""

from pathlib import Path

from spec.reference.interop import Reference, build, load_weights
from spec.sources import open as open_file


def from_file(path: str | Path, network: str | Path | None = None) -> Reference:
    """The network of a .safetensors file with its weights, computing in float64; see spec.open."""
    checkpoint = open_file(path, network)
    model = build(checkpoint.network)
    load_weights(model, {name: array.astype("float64") for name, array in checkpoint.weights.items()})
    return model
