"""Files: the neutral one, and ONNX's own."""

import json
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, load_model_from_string

import spec
from densenet_onnx.interop import load_weights
from densenet_onnx.model import ConvNet, build, metadata
from spec.files import check_readable, replacing

SUFFIXES = (".onnx",)


def from_file(path: str | Path, network: str | Path | None = None) -> ConvNet:
    """The model of a .safetensors file with its weights, in their dtype; see spec.open."""
    checkpoint = spec.open(path, network)
    model = build(checkpoint.network, dtype=checkpoint.dtype)
    load_weights(model, checkpoint.weights)
    return model


def describe(model: ConvNet, checkpoint: spec.Checkpoint) -> None:
    """Puts what a neutral file says besides its weights into the model's metadata.

    The network is the one that the model was made of: an optimized one has no config of its own.
    """
    said = metadata(checkpoint.network) | {"provenance": json.dumps(dict(checkpoint.provenance))}
    if checkpoint.preprocessing is not None:
        said["preprocessing"] = checkpoint.preprocessing.model_dump_json()
    if checkpoint.classes is not None:
        said["classes"] = json.dumps(checkpoint.classes)
    helper.set_model_props(model.proto, said)


def save(path: str | Path, model: ConvNet) -> None:
    """Writes the model as an .onnx file, in one step."""
    if Path(path).suffix not in SUFFIXES:
        raise spec.SpecError(f"the name of an ONNX file ends in .onnx, found {str(path)!r}")
    model.check_values()
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(model.proto.SerializeToString())


def reopened(path: str | Path, network: spec.Network) -> ConvNet:
    """The graph that is in an .onnx file of a network, to be run as it is."""
    check_readable(path)
    try:
        proto = load_model_from_string(Path(path).read_bytes())
    except DecodeError:
        proto = None
    if proto is None or not proto.graph.input:  # an empty file decodes, too
        raise spec.SpecError(f"{path} is no ONNX file, or a damaged one")
    return ConvNet(network, proto)
