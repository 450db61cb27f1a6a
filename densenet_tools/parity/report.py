"""The report of a comparison, for programs: one JSON document with a versioned schema."""

import platform
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from densenet_tools.parity.verdict import Verdict


@dataclass(frozen=True)
class Report:
    """What was compared, on what, and each check's figure and tolerance.

    `format` changes when a field changes its meaning or goes; new fields may appear within one format.
    `versions` are those of the installed distributions. Weights and running statistics are drawn from
    `seed` (see spec.initialize and spec.randomize), images are `batch` crops of `photographs`. A figure that is
    not a number, because shapes differ, is null.
    """

    versions: dict[str, str]
    dtype: str
    seed: int
    batch: int
    photographs: tuple[str, ...]
    results: tuple[Verdict, ...]
    python: str = platform.python_version()
    format: Literal["densenet-parity/1"] = "densenet-parity/1"


def to_json(report: Any) -> str:
    """A report, or another dataclass of figures, as a document."""
    return TypeAdapter(type(report)).dump_json(report, indent=2).decode() + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of the document."""
    return TypeAdapter(Report).json_schema(mode="serialization")
