"""What a user names a network by: a variant, a config file, or a file with weights."""

import json
import tomllib
from pathlib import Path
from typing import Any

from spec import checkpoint
from spec.checkpoint import Checkpoint
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.files import check_readable
from spec.network import Network, build
from spec.variants import Table, config_of, fields_of, names, variant_config

CONFIGS = (".toml", ".json")


def load_config(source: str | Path, **overrides: Any) -> NetworkConfig:
    """The config in a .toml or .json file, of the network whose weights a .safetensors file has, or of a variant."""
    return _named(source, overrides)[1]


def load(source: str | Path, **overrides: Any) -> Network:
    """The network in a .toml or .json config file, that whose weights a .safetensors file has, or a variant."""
    name, config = _named(source, overrides)
    return build(config, name)


def open(path: str | Path, network: str | Path | None = None) -> Checkpoint:
    """A network with its weights, from a neutral file, or from a .safetensors file with canonical names.

    `network`, a variant or a config file, says whose weights a file is that does not say it itself, and whose shapes
    leave more than one answer. Raises SpecError, before any array reaches a model, where anything does not fit.
    """
    if not holds_weights(path):
        raise SpecError(f"weights are opened from a {checkpoint.SUFFIX} file, found {str(path)!r}: see densenet port")
    return checkpoint.read(path, None if network is None else load_config(network))


def holds_weights(source: str | Path) -> bool:
    """Whether a source is a file with weights, not only the description of a network."""
    return Path(source).suffix == checkpoint.SUFFIX


def _named(source: str | Path, overrides: dict[str, Any]) -> tuple[str, NetworkConfig]:
    path = Path(source)
    if path.suffix in CONFIGS:
        return path.stem, config_of(_read(path), overrides, str(source))
    if holds_weights(source):
        name, config = checkpoint.read_config(path)
        return name, config_of(config.model_dump(), overrides, str(source)) if overrides else config
    if path.is_file() and str(source) not in names():
        known = ", ".join((*CONFIGS, checkpoint.SUFFIX))
        raise SpecError(f"a network is read from a file in {known}, found {str(source)!r}: for weights, densenet port")
    return str(source), variant_config(str(source), **overrides)


def _read(path: Path) -> Table:
    """A config file's fields, those of the variant it extends included."""
    parse = tomllib.loads if path.suffix == ".toml" else json.loads
    if path.exists():
        check_readable(path)
    try:
        table = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SpecError(f"{path} is not valid {path.suffix[1:].upper()}: {error}") from None
    except RecursionError:
        raise SpecError(
            f"{path} is nested more deeply than any config: write its fields as in densenet schema"
        ) from None
    if not isinstance(table, dict):
        raise SpecError(f"{path} must hold a table of fields, found a {type(table).__name__}")
    try:
        return fields_of(table)
    except SpecError as error:
        raise SpecError(f"{path}: extends: {error}") from None
