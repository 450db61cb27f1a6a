"""The neutral file: one .safetensors that rebuilds a network with its weights, by itself and in any backend.

Names and layouts are canonical (spec.parameters). The metadata of its header has the network's name and whole
config, what is done to a photograph before, where the weights come from, and a digest of all values.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from spec import tensors
from spec.config import SHORT, NetworkConfig
from spec.errors import SpecError
from spec.families import config_type
from spec.inference import infer, variant_of
from spec.network import Network, build
from spec.parameters import Weights, parameter_shapes
from spec.preprocessing import Preprocessing
from spec.shapes import Shapes
from spec.weights import KINDS, check_shapes, check_weights

FORMAT, VERSION = "densenet-reference", 1
SUFFIX = ".safetensors"
LONGEST_NAME = 200
Value = TypeVar("Value")
Kind = TypeVar("Kind", dict[str, Any], list[Any])
NOT_COMPUTED = ("dropout", "decay", "classifier_activation", "input_size", "num_classes", "in_channels")
COUNTED = "num_batches_tracked"  # by PyTorch's batch norms: how often, which nothing here needs


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights: float32 or float64 arrays under canonical names.

    `preprocessing` and `classes`, the names of what the classifier tells apart, in its order, are None where they
    are not known; `provenance` says in words where the weights come from.
    """

    network: Network
    weights: Weights = field(repr=False)
    preprocessing: Preprocessing | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None

    @property
    def dtype(self) -> str:
        return str(next(iter(self.weights.values())).dtype)

    def save(self, path: str | Path) -> None:
        """Writes it as `spec.save` does, and raises what that raises."""
        save(path, self.network, self.weights, self.preprocessing, self.provenance, self.classes)


def save(
    path: str | Path,
    network: Network,
    weights: Weights,
    preprocessing: Preprocessing | None = None,
    provenance: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Writes a neutral file, whole or not at all: `save("mine.safetensors", model.network, export_weights(model))`.

    Raises SpecError for a network without a config, for weights that are not its own, and where nothing can be
    written there.
    """
    if Path(path).suffix != SUFFIX:
        raise SpecError(f"a neutral file's name ends in {SUFFIX}, found {str(path)!r}")
    if network.config is None:
        raise SpecError(f"{network.name} was made by hand: a neutral file needs the config that spec.build made it of")
    _check_name(path, network.name)
    if network.num_classes is None:
        raise SpecError(f"{network.name} has no classifier: a neutral file is of a whole network")
    first = next(iter(weights.values()), None) if isinstance(weights, Mapping) else None
    dtype = str(getattr(first, "dtype", None))
    check_weights(weights, parameter_shapes(network), dtype if dtype in KINDS else "float32")
    ordered = {name: weights[name] for name in parameter_shapes(network)}
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "name": network.name,
        "config": network.config.model_dump_json(),
        "sha256": tensors.digest(ordered.values()),
        "provenance": json.dumps({"tool": tool(), **(provenance or {})}),
    }
    if preprocessing is not None:
        _check_channels(path, preprocessing, network.in_channels)
        metadata["preprocessing"] = preprocessing.model_dump_json()
    if classes is not None:
        check_classes(path, classes, network.num_classes)
        metadata["classes"] = json.dumps(list(classes))
    tensors.write(path, ordered, metadata)


def read(path: str | Path, config: NetworkConfig | None = None) -> Checkpoint:
    """What a neutral file holds, checked as a whole: names, shapes, dtypes, values, digest.

    A safetensors file that is no neutral one is read, too: as weights of the network of `config`, or of the one that
    its names and shapes tell. Raises SpecError where anything does not fit.
    """
    header = tensors.read_header(path)
    network = _network(header, config)
    expected = parameter_shapes(network)
    with _named(path):
        check_shapes(_own(header), expected)
    weights, found = tensors.read_arrays(header, list(expected))
    with _named(path):
        check_weights(weights, expected, str(next(iter(weights.values())).dtype))
    if not is_neutral(header):
        return Checkpoint(network, weights)
    if header.metadata.get("sha256") != found:
        raise SpecError(f"{path} is damaged: its values are not those that its digest was taken of")
    preprocessing, provenance = _preprocessing(header, network.in_channels), _value(header, "provenance", dict)
    return Checkpoint(network, weights, preprocessing, provenance or {}, _classes(header, network.num_classes))


def read_weights(path: str | Path, network: Network) -> Weights:
    """{name: array} of a .safetensors file that `network` is to have, which may leave some aside.

    Raises SpecError for a neutral file of a network that computes something else with them.
    """
    if Path(path).suffix != SUFFIX:
        raise SpecError(
            f"weights must be the path of a {SUFFIX} file with canonical names, found {str(path)!r}: "
            "no weights are hosted or downloaded, and densenet port makes such a file of others"
        )
    header = tensors.read_header(path)
    if not is_neutral(header):
        return tensors.read_arrays(header, list(_own(header)))[0]
    checkpoint = read(path)
    own, asked = (each.model_dump() if each else {} for each in (checkpoint.network.config, network.config))
    for name in (name for name in own if name not in NOT_COMPUTED and asked.get(name, own[name]) != own[name]):
        raise SpecError(
            f"{path} is of a network with {name}={own[name]!r}, this one has {asked[name]!r}: "
            f"set {name}, or use from_file, which builds the network of the file"
        )
    return checkpoint.weights


def read_config(path: str | Path) -> tuple[str, NetworkConfig]:
    """The name and config of the network that a file is of, from its header alone; raises SpecError as read does."""
    return _told(tensors.read_header(path))


def without_prefix(named: Mapping[str, Value]) -> dict[str, Value]:
    """The items under their names without what all of these begin with, such as `module.` of DataParallel.

    `features` stays: it is all that a network without its classifier has.
    """
    first = {name.partition(".")[0] for name in named}
    while len(first) == 1 and all("." in name for name in named) and first != {"features"}:
        named = {name.partition(".")[2]: value for name, value in named.items()}
        first = {name.partition(".")[0] for name in named}
    return dict(named)


def tool() -> str:
    """This package and its version."""
    try:
        return f"densenet-reference {version('densenet-reference')}"
    except PackageNotFoundError:
        return "densenet-reference"


@contextmanager
def _named(place: str | Path) -> Iterator[None]:
    """Puts the file, or the place in it, before what is said of what it holds."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def _told(header: tensors.Header) -> tuple[str, NetworkConfig]:
    if is_neutral(header):
        name = header.metadata.get("name", header.path.stem)
        _check_name(header.path, name)
        return name, _config(header)
    with _named(header.path):
        config = infer(_own(header))
    return variant_of(config) or header.path.stem, config


def _network(header: tensors.Header, config: NetworkConfig | None) -> Network:
    if config is None:
        name, config = _told(header)
    elif is_neutral(header):
        raise SpecError(f"{header.path} says itself which network it is of: name no other")
    else:
        name = variant_of(config) or header.path.stem
    with _named(header.path):
        return build(config, name)


def _own(header: tensors.Header) -> Shapes:
    """The shapes of all tensors that a network can have."""
    return {name: shape for name, shape in header.shapes.items() if name.rpartition(".")[2] != COUNTED}


def is_neutral(header: tensors.Header) -> bool:
    """Whether the file says that it was written by `save`."""
    return header.metadata.get("format") == FORMAT


def _config(header: tensors.Header) -> NetworkConfig:
    written = header.metadata.get("format_version")
    if written != str(VERSION):
        raise SpecError(
            f"{header.path} is of format version {written}, this is {tool()}, which reads version {VERSION}"
        )
    fields = _value(header, "config", dict) or {}
    with _named(f"{header.path}: config"):
        return config_type(fields.get("family"))(**fields)


def _preprocessing(header: tensors.Header, channels: int) -> Preprocessing | None:
    fields = _value(header, "preprocessing", dict)
    if not fields:
        return None
    with _named(f"{header.path}: preprocessing"):
        found = Preprocessing(**fields)
    _check_channels(header.path, found, channels)
    return found


def _check_name(path: str | Path, name: str) -> None:
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise SpecError(f"{path}: the name in its header should be a line of at most {LONGEST_NAME} letters")


def _classes(header: tensors.Header, num_classes: int | None) -> tuple[str, ...] | None:
    classes = _value(header, "classes", list)
    if classes is None:
        return None
    check_classes(header.path, classes, num_classes)
    return tuple(classes)


def check_classes(path: str | Path, classes: Sequence[str], num_classes: int | None) -> None:
    """Raises SpecError unless these are different names, one for each class."""
    if isinstance(classes, str) or len(classes) != num_classes:
        raise SpecError(f"{path}: classes should be {num_classes} names, one for each, found {SHORT.repr(classes)}")
    for name in classes:
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > LONGEST_NAME:
            raise SpecError(f"{path}: classes should be lines of 1 to {LONGEST_NAME} letters, found {SHORT.repr(name)}")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise SpecError(f"{path}: classes should differ from each other, found {twice!r} twice")


def _check_channels(path: str | Path, preprocessing: Preprocessing, channels: int) -> None:
    count = len(preprocessing.mean)
    if count != channels:
        raise SpecError(
            f"{path}: preprocessing: mean should have an entry for each of {channels} channels, found {count}"
        )


def _value(header: tensors.Header, key: str, kind: type[Kind]) -> Kind | None:
    """What the metadata has under a key, as JSON of that kind; None where it has nothing."""
    if key not in header.metadata:
        return None
    try:
        value = json.loads(header.metadata[key])
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{header.path}: the {key} in its header is not valid JSON: {str(error)[:80]}") from None
    if not isinstance(value, kind):
        expected = {dict: "table", list: "list"}[kind]
        raise SpecError(
            f"{header.path}: the {key} in its header should be a {expected}, found a {type(value).__name__}"
        )
    return value
