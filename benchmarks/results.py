"""The results: a JSON file for each part of a run."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import spec
from benchmarks.machine import described
from benchmarks.parts import PARTS, Options
from spec.files import replacing

RESULTS = Path(__file__).parent / "results"
DIGITS = 5


def content(options: Options, figures: dict[str, Any]) -> dict[str, Any]:
    """A part's figures, with what they were measured on and how, as its file has them."""
    return rounded({"machine": described(), "options": asdict(options), "figures": figures})


def write(folder: Path, part: str, content: dict[str, Any]) -> None:
    """Puts a part's file in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{part}.json") as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """{part: content} of those that are there; raises SpecError where there are none, or one is damaged."""
    found = {}
    for part in PARTS:
        path = folder / f"{part}.json"
        if not path.exists():
            continue
        try:
            found[part] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise spec.SpecError(f"{path} is no JSON file: {error}; measure it again") from None
    if not found:
        raise spec.SpecError(f"{folder} has no results: run python -m benchmarks first")
    return found


def rounded(value: Any) -> Any:
    """The same with floats of as many digits as mean something."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
