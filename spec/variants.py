"""The table of named networks."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from spec.config import NetworkConfig
from spec.errors import SpecError, nearest
from spec.families import config_type
from spec.network import Network, build

Table = dict[str, Any]
DEFAULT_FAMILY = "densenet"  # of a file that names none


@dataclass(frozen=True)
class Published:
    """Figures of one published form of a variant; None where the source gives none.

    `parameters` are trainable, `buffers` running means and variances, `multiply_adds` those of
    convolutions and linear layers for one image; `error` is in percent.
    """

    source: str
    in_channels: int | None = None
    num_classes: int | None = None
    parameters: int | None = None
    parameters_rounded: str | None = None
    buffers: int | None = None
    multiply_adds: int | None = None
    error: float | None = None
    task: str | None = None


@cache
def _table() -> dict[str, Table]:
    return tomllib.loads(files("spec").joinpath("variants.toml").read_text(encoding="utf-8"))


def names() -> list[str]:
    """The names of all variants, in the table's order."""
    return list(_table())


def published(name: str) -> list[Published]:
    """What was published of a variant, one entry for each number of classes."""
    return [Published(**entry) for entry in _entry(name).get("published", [])]


def variant_config(name: str, **overrides: Any) -> NetworkConfig:
    """A variant's config with some fields replaced; a mapping replaces only the fields it names."""
    return config_of(fields_of(_entry(name)), overrides, name)


def variant(name: str, **overrides: Any) -> Network:
    """A variant's network: `variant("densenet121", num_classes=10, stem={"padding": 1})`.

    Overrides are fields of the config of its family. Raises SpecError for an unknown name or field, and for
    a config that cannot be built.
    """
    return build(variant_config(name, **overrides), name)


def schema(family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """The JSON schema of a config file of that family."""
    schema = config_type(family).model_json_schema()
    relatives = [name for name in names() if variant_config(name).family == family]
    schema["properties"]["extends"] = {"enum": relatives, "description": "the variant whose fields are taken over"}
    named = [] if family == DEFAULT_FAMILY else ["family"]
    schema["anyOf"] = [{"required": ["extends"]}, {"required": [*named, *schema.pop("required", [])]}]
    return schema


def fields_of(table: Table) -> Table:
    """The config fields of a table, the variants' or a file's: its own over those of the variant that it extends."""
    own = {key: value for key, value in table.items() if key not in ("extends", "published")}
    if "extends" not in table:
        return own
    return merged(fields_of(_entry(table["extends"])), own)


def config_of(fields: Table, overrides: Mapping[str, Any], source: str) -> NetworkConfig:
    """The config of these fields, some replaced; errors name the source."""
    table = merged(fields, overrides)
    try:
        return config_type(table.get("family", DEFAULT_FAMILY))(**table)
    except SpecError as error:
        raise SpecError(f"{source}: {error}") from None


def _entry(name: str) -> Table:
    try:
        return _table()[name]
    except (KeyError, TypeError):
        raise SpecError(f"unknown variant {name!r}: {nearest(str(name), names())}") from None


def merged(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> Table:
    """`fields` with `overrides`; where both are mappings, only what the override names changes."""
    table = dict(fields)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        table[key] = merged(table[key], value) if both else value
    return table
