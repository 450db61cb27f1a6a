"""Gluon's model zoo: its arguments, and files with other names than save_parameters of a model here gives."""

import re
import struct
from pathlib import Path
from typing import Any

import mxnet as mx
from mxnet.util import is_np_array

import spec

NUMPY_ARRAY = 0xF993FACA  # what an array in a .params file begins with that was written in NumPy mode
WORDS = {"classes": "num_classes", "num_init_features": "stem.channels"}
FIRST = re.compile(r"features\.0\.weight|(arg:)?(densenet\d+_)*conv0_weight")


def refuse(variant: str, pretrained: Any, given: dict[str, Any]) -> None:
    """Raises SpecError for what the zoo's builders take and these cannot."""
    if pretrained:
        raise spec.SpecError(
            f"pretrained: nothing is downloaded, found {pretrained!r}: take the model zoo's file, run `densenet port "
            f"{variant}.params {variant}.safetensors`, and give that as weights, or the zoo's file to load_parameters"
        )
    if "params" in given:
        raise spec.SpecError(
            f"params: {variant} shares no parameters with another block: call the one model twice, or copy its values "
            "with load_weights(model, export_weights(other))"
        )


def written_in_numpy_mode(path: str | Path) -> bool:
    """Whether a .params file has arrays that MXNet reads in NumPy mode only."""
    with Path(path).open("rb") as file:
        start = file.read(28)
    return len(start) == 28 and struct.unpack("<I", start[24:]) == (NUMPY_ARRAY,)


def renamed(path: str | Path, model: Any) -> list[Any] | None:
    """The arrays of a file of the zoo's, or of `export`, in the order of the model; None for any other file.

    Raises SpecError for a zoo's file of another network.
    """
    arrays = (mx.npx if is_np_array() else mx.nd).load(str(path))
    if not isinstance(arrays, dict):
        return None
    if any(FIRST.fullmatch(name) for name in arrays):
        return _theirs(model.network, path)
    bare = {name[4:]: array for name, array in arrays.items() if name.startswith(("arg:", "aux:"))}
    own = [parameter.name.removeprefix(model.prefix) for parameter in model.collect_params().values()]
    prefixes = [name.removesuffix(own[0]) for name in bare if name.endswith(own[0])]
    found = [bare.get(prefix + name) for prefix in prefixes for name in own]
    return None if not found or any(array is None for array in found) else found


def _theirs(network: spec.Network, path: str | Path) -> list[Any]:
    """The arrays of the file in the order of the network."""
    from densenet_mxnet.peers import build_peer, load_peer

    shapes = list(spec.parameter_shapes(network).values())
    try:
        peer = build_peer(network)
        load_peer(peer, path)
    except (AssertionError, AttributeError, TypeError, ValueError):
        arrays = []
    else:
        arrays = [parameter.data(mx.cpu()) for parameter in peer._collect_params_with_prefix().values()]
    if [array.shape for array in arrays] != shapes:
        raise spec.SpecError(
            f"{path} is a file of the model zoo, of another network than {network.name}: build that one, or run "
            f"`densenet port {path} {network.name}.safetensors` to see which it is"
        )
    return arrays
