"""Weights into any kind of file, and back out of it through the framework that opens such files."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

import spec
from densenet_tools import backends
from densenet_tools.porting.formats import ENDINGS, Format
from densenet_tools.porting.hdf5 import Layers, write_keras
from densenet_tools.porting.names import GLUON, KERAS, LAYERS, foreign_name
from densenet_tools.porting.params import write_params
from densenet_tools.porting.peers import check_peer
from densenet_tools.porting.readers import read
from spec.blocks import Inception
from spec.families.densenet import DenseNetConfig
from spec.files import replacing
from spec.layers import BatchNorm
from spec.tree import walk

TO_KERAS = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
Predict = Callable[[np.ndarray], np.ndarray]


def check_writable(path: Path, format: Format, network: spec.Network) -> None:
    """Raises SpecError, before anything is done, for a network or a name that the format cannot have."""
    if format.is_peer:
        check_peer(format, network)
    if not path.name.endswith(ENDINGS[format]):
        names = " or ".join(ENDINGS[format])
        raise spec.SpecError(f"a {format.value} file is written under a name in {names}, found {path}")


def write(path: Path, format: Format, checkpoint: spec.Checkpoint) -> None:
    """Writes the file, whole or not at all; raises SpecError where that is not possible.

    A framework is imported where it alone can write the format: PyTorch, and Keras for a .keras file.
    """
    network, weights = checkpoint.network, checkpoint.weights
    if format is Format.NEUTRAL:
        checkpoint.save(path)
    elif format is Format.CONFIG:
        _write_config(path, network)
    elif format is Format.TORCH:
        backends.parse("torch").load().files.save_weights(path, weights)
    elif format in (Format.GLUON, Format.ZOO):
        write_params(path, _for_gluon(network, weights, _names(format, network)))
    elif path.suffix == ".keras":
        keras = backends.parse("keras").load()
        model = keras.build(network, dtype=checkpoint.dtype)
        keras.load_weights(model, weights)
        keras.save(path, model)
    else:
        write_keras(path, _for_keras(network, weights, _names(format, network)))


def opened(path: Path, format: Format, network: spec.Network, dtype: str) -> Predict:
    """What the framework's own loader and model make of a file: images (N, C, H, W) -> logits."""
    runner = backends.parse(format.backend)
    backend = runner.load()
    if format.is_peer:
        peers = import_module(f"{runner.entry.package}.peers")
        return lambda images: peers.predict_peer(path, network, images)
    if format is Format.NEUTRAL:
        model = backend.build(network, dtype="float64")
        backend.load_weights(model, {name: a.astype("float64") for name, a in read(path, format).weights.items()})
    else:
        model = backend.files.reopened(path, network, dtype)
    return lambda images: backend.predict(model, images)


def _for_gluon(network: spec.Network, weights: spec.Weights, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Under Gluon's names, in which a batch norm's scale and shift are gamma and beta."""
    norms, theirs = _norms(network), {canonical: name for name, canonical in GLUON.items()}
    found = {}
    for name, array in weights.items():
        layer, _, last = name.rpartition(".")
        found[f"{names.get(layer, layer)}.{theirs.get(last, last) if layer in norms else last}"] = array
    return found


def _for_keras(network: spec.Network, weights: spec.Weights, names: dict[str, str]) -> Layers:
    """{layer: {variable: array}} in Keras' layout, and in the order in which Keras has the layers."""
    norms, layers = _norms(network), {}
    of_norm = {canonical: name for name, canonical in KERAS.items() if name not in ("kernel", "bias")}
    for layer in _in_order_of_keras(network):
        variables = of_norm if layer in norms else {"weight": "kernel", "bias": "bias"}
        arrays = {variable: weights.get(f"{layer}.{last}") for last, variable in variables.items()}
        layers[names.get(layer, layer)] = {
            variable: array.transpose(TO_KERAS[array.ndim]) for variable, array in arrays.items() if array is not None
        }
    return layers


def _in_order_of_keras(network: spec.Network) -> list[str]:
    """The layers that have parameters: first those from which more layers lead to the output.

    That is the spec's order, but inside an Inception, where the reducing convolutions of all branches come first.
    """
    layers = [path for path, node in walk(network.root) if node.parameter_shapes()]
    inceptions = [path for path, node in walk(network.root) if isinstance(node, Inception)]

    def place(path: str) -> tuple[str, bool]:
        parent, _, name = path.rpartition(".")
        return (parent, not name.startswith("reduce")) if parent in inceptions else (path, False)

    first = {place(path)[0]: i for i, path in reversed(list(enumerate(layers)))}
    return sorted(layers, key=lambda path: (first[place(path)[0]], place(path)[1]))


def _norms(network: spec.Network) -> set[str]:
    return {path for path, node in walk(network.root) if isinstance(node, BatchNorm)}


def _names(format: Format, network: spec.Network) -> dict[str, str]:
    """{canonical name of a layer: its name in a peer}; empty for this project's own formats."""
    if not format.is_peer:
        return {}
    assert isinstance(network.config, DenseNetConfig)
    blocks = network.config.block_config
    implementation = {Format.APPLICATIONS: "applications", Format.ZOO: "zoo"}[format]
    found = {}
    for layer in LAYERS:
        for block, count in enumerate(blocks, start=1):
            for number in range(1, count + 1):
                at = (block, number, len(blocks))
                found[foreign_name("canonical", layer, *at)] = foreign_name(implementation, layer, *at)
    return found


def _write_config(path: Path, network: spec.Network) -> None:
    assert network.config is not None
    with replacing(path) as beside:
        beside.write_text(network.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
