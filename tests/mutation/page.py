"""What came of the mutants: the listed survivors, the score, and the page that says so."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import FOLDERS, Mutant, squeezed

LISTED = "tests/mutation/listed.toml"
BAR = 0.97
KILLED, CRASHED, TIMED_OUT, SURVIVED, EXCUSED = OUTCOMES = ("killed", "crashed", "timed out", "survived", "listed")


@dataclass(frozen=True)
class Result:
    """A mutant, what became of it, and how long that took."""

    mutant: Mutant
    outcome: str
    seconds: float


def listed(tree: Path) -> dict[tuple[str, str, str], str]:
    """{(file, line, what it becomes): reason} of the survivors that no user can tell from the original.

    An entry whose line is no longer in its file ends the program: it says nothing any more.
    """
    entries = tomllib.loads((tree / LISTED).read_text(encoding="utf-8")).get("mutant", [])
    reasons = {}
    for entry in entries:
        line = squeezed(entry["line"])
        if line not in squeezed((tree / entry["file"]).read_text(encoding="utf-8")):
            raise SystemExit(f"{LISTED}: {entry['file']} has no line {entry['line']!r}")
        for becomes in entry["becomes"]:
            reasons[entry["file"], line, squeezed(becomes)] = entry["reason"]
    return reasons


def score(results: Sequence[Result]) -> float:
    """The share of those not listed that did not survive: killed by a test, crashed by a signal, or timed out."""
    counted = [result for result in results if result.outcome != EXCUSED]
    survived = sum(result.outcome == SURVIVED for result in counted)
    return 1 - survived / len(counted) if counted else 1.0


def table(results: Sequence[Result]) -> str:
    """A row for each folder and one for all of them, in Markdown."""
    rows = [
        f"| folder | mutants | {' | '.join(OUTCOMES)} | score without the listed |",
        "|---|" + "---:|" * (len(OUTCOMES) + 2),
    ]
    groups = {folder: [result for result in results if result.mutant.folder == folder] for folder in FOLDERS}
    for name, group in {**groups, "all": results}.items():
        if group:
            outcomes = [result.outcome for result in group]
            counts = " | ".join(str(outcomes.count(outcome)) for outcome in OUTCOMES)
            rows.append(f"| {name} | {len(group)} | {counts} | {score(group):.1%} |")
    return "\n".join(rows)


def to_markdown(results: Sequence[Result], drawn: int, seed: int, reasons: dict[tuple[str, str, str], str]) -> str:
    """The table, then every survivor with its diff, then the listed ones with their reasons."""
    seconds = sum(result.seconds for result in results) / max(len(results), 1)
    parts = [
        "# Mutation testing",
        f"{len(results)} of {drawn} mutants, drawn with seed {seed}; {seconds:.1f} seconds each.",
        table(results),
    ]
    survived = [result.mutant for result in results if result.outcome == SURVIVED]
    excused = [result.mutant for result in results if result.outcome == EXCUSED]
    parts += ["## Survived", *(map(_shown, survived) if survived else ["None."])]
    parts += ["## Listed", *(f"{_shown(mutant)}\n\n{reasons[key(mutant)]}" for mutant in excused)]
    return "\n\n".join(parts) + "\n"


def key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, mutant.was, mutant.becomes


def _shown(mutant: Mutant) -> str:
    return f"### {mutant.file}:{mutant.line} {mutant.operator}\n\n```diff\n{mutant.diff}\n```"
