"""What users type, turned into what the functions take; every mistake is a SpecError of one sentence."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import spec
from densenet_tools import backends

Set = Annotated[
    list[str] | None,
    Parameter(
        name="--set", negative="", help="Override fields: FIELD=VALUE ..., such as --set num_classes=10 stem.padding=1."
    ),
]
Input = Annotated[str | None, Parameter(help="Input shape CxHxW, such as 3x224x224; default: the published one.")]

Backends = Annotated[
    list[str] | None,
    Parameter(
        name="--backends", negative="", consume_multiple=True, help="Which of them; default: all that are installed."
    ),
]
Photographs = Annotated[
    list[Path] | None,
    Parameter(
        negative="",
        consume_multiple=True,
        help="Photographs; default: the one that matplotlib ships, else a drawn picture.",
    ),
]
JsonFile = Annotated[Path | None, Parameter(name="--json", help="Also write the results to this file.")]
PrintJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def spread(argv: Sequence[str]) -> list[str]:
    """Each FIELD=VALUE behind a --set with a --set of its own: `--set a=1 b=2 densenet121` sets two fields."""
    found: list[str] = []
    for word in argv:
        follows = len(found) > 1 and found[-2] == "--set" and "=" in found[-1]
        if follows and re.match(r"[a-z_][\w.]*=", word) and not Path(word).exists():
            found.append("--set")
        found.append(word)
    return found


def overrides(settings: Sequence[str]) -> dict[str, Any]:
    """`["num_classes=10", "stem.padding=1"]` as nested fields; values as in TOML, or bare words; `none` is None."""
    fields: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not path or not equals:
            raise spec.SpecError(f"--set takes FIELD=VALUE, such as num_classes=10, found {setting!r}")
        *tables, last = path.split(".")
        table = fields
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise spec.SpecError(f"--set {setting}: {name} was set to a value before")
        table[last] = _value(text)
    return fields


def opened(source: str, settings: Sequence[str] | None) -> tuple[spec.Network, spec.Checkpoint | None]:
    """A network by its name or file, and what a file holds besides: weights and preprocessing."""
    if not spec.holds_weights(source):
        return spec.load(source, **overrides(settings or [])), None
    if settings:
        raise spec.SpecError(f"{source} has the weights of the network that it is of: leave --set out")
    checkpoint = spec.open(source)
    return checkpoint.network, checkpoint


def input_shape(text: str) -> tuple[int, int, int]:
    """`3x224x224` as (C, H, W)."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", text)
    if match is None:
        raise spec.SpecError(f"--input takes CxHxW, such as 3x224x224, found {text!r}")
    channels, height, width = map(int, match.groups())
    return channels, height, width


def runners(texts: Sequence[str] | None) -> list[backends.Runner]:
    """The backends asked for, `["torch,keras", "mxnet:static"]`, or all that are installed."""
    if not texts:
        return backends.installed()
    found = [backends.parse(word) for text in texts for word in text.split(",") if word]
    for runner in found:
        runner.check()
    return found


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # not TOML, or numbers and nesting that no field has
        return text
