"""What a backend really makes of a network, set against the layer table of the spec."""

from dataclasses import dataclass

import numpy as np

import spec
from densenet_tools.backends import Runner


@dataclass(frozen=True)
class Observed:
    """A layer as a backend has it: its output shape per image, parameters and buffers."""

    output_shape: tuple[int, ...]
    parameters: int
    buffers: int


def observe(network: spec.Network, runner: Runner, input_shape: tuple[int, ...]) -> dict[str, Observed]:
    """{layer path: what the backend has there}, from one inference on random input."""
    backend = runner.load()
    model = backend.build(network, dtype="float32")
    backend.load_weights(model, spec.initialize(network, seed=0))
    images = np.random.default_rng(0).normal(size=(1, *input_shape)).astype(np.float32)
    weights = backend.export_weights(model)
    return {
        path: Observed(output.shape[1:], _count(weights, path, buffers=False), _count(weights, path, buffers=True))
        for path, output in backend.trace(model, images).items()
    }


def differences(rows: list[spec.Figures], observed: dict[str, Observed], runner: Runner) -> list[str]:
    """One sentence for each layer that the backend lacks, adds or shapes differently."""
    found = []
    for row in (row for row in rows if row.path):
        expected = Observed(row.output_shape, row.parameters, row.buffers)
        if row.path not in observed:
            found.append(f"{row.path}: {runner} has no such layer")
        elif observed[row.path] != expected:
            found.append(f"{row.path}: {runner} has {observed[row.path]}, the spec {expected}")
    paths = {row.path for row in rows}
    return found + [f"{path}: {runner} has this layer, the spec has not" for path in observed if path not in paths]


def _count(weights: spec.Weights, path: str, buffers: bool) -> int:
    return sum(
        array.size for name, array in weights.items() if name.startswith(f"{path}.") and spec.is_buffer(name) == buffers
    )
