"""A diagnosis in words, as the command line prints it and an assertion shows it; and as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from math import isfinite, isinf
from typing import Any

from densenet_tools.diagnosis.findings import BACKWARD, GIVEN, STEP, TRAINING, TRAINS, UPDATE, Finding
from densenet_tools.diagnosis.verdict import Diagnosis

FRAMEWORKS = {"torch": "PyTorch", "mxnet": "Gluon", "keras": "Keras"}
FORMAT = "densenet-diagnosis/1"  # changes when a field of the JSON changes its meaning or goes
PLACES = {TRAINS: "{}, in training", BACKWARD: "{}, backward", UPDATE: "{}, running statistics", STEP: "optimizer step"}
RUNS = 8  # operations that are named
SHOWN = 20  # groups of findings; what comes after is counted


def to_text(found: Diagnosis) -> str:
    """The verdict, then each fault with its cause and what mends it; layers with the same fault are told together."""
    lines = [verdict(found)]
    lines += [f"  {sentence}" for sentence in found.structure]
    groups = grouped(found.findings)
    for group in groups[:SHOWN]:
        lines += [f"  {line}" for line in _group(group)]
    if len(groups) > SHOWN:
        lines.append(f"  and {len(groups) - SHOWN} more")
    lines += [f"  note: {note}" for note in found.notes]
    return "\n".join(lines)


def to_json(found: Diagnosis) -> str:
    """All of it, but for the arrays of what nothing explains; what is infinite, as another shape is, is null."""
    return (
        json.dumps({"format": FORMAT, "agrees": found.agrees, **_plain(asdict(replace(found, case=None)))}, indent=2)
        + "\n"
    )


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings with the same causes in the same kind of place, in the order of the first of each."""
    key = {id(each): (each.where, each.causes, _kind(each)) if each.causes else (id(each),) for each in findings}
    order = {value: i for i, value in reversed(list(enumerate(key.values())))}
    ordered = sorted(findings, key=lambda each: order[key[id(each)]])
    return [list(group) for _, group in groupby(ordered, key=lambda each: key[id(each)])]


def mapping_text(found: Diagnosis) -> str:
    """Which of the model's layers is which of the network's, and what found no partner."""
    width = max((len(ours) for ours, _ in found.mapping), default=0)
    lines = [f"  {ours:{width}}  {theirs or '(no layer)'}" for ours, theirs in found.mapping]
    lines += [f"  no partner: {each}" for each in found.unmatched]
    return "\n".join(lines)


def verdict(found: Diagnosis) -> str:
    """What it comes to, in one sentence."""
    model = f"the {FRAMEWORKS[found.framework]} model in {found.dtype}"
    if found.structure:
        return f"{model} is not {found.network}: its structure differs"
    if found.agrees:
        agreeing = [
            f"logits agree to {found.difference:.1e}",
            *(f"{what} to {most:.1e}" for what, most in found.training.items()),
        ]
        return f"{model} is {found.network}: {', '.join(agreeing)}"
    if all(each.where in TRAINING for each in found.findings):
        return f"{model} is {found.network} in inference, logits agree to {found.difference:.1e}, but not in training"
    return f"{model} is not {found.network}: logits differ by {amount(found.difference)}"


def _group(group: list[Finding]) -> Iterator[str]:
    first, last = group[0], group[-1]
    place = f"before {first.layer}" if first.where == GIVEN else first.layer
    if len(group) == 2:
        place += f" and {last.layer}"
    elif len(group) > 2:
        place += f" and {len(group) - 1} more up to {last.layer}"
    place = PLACES.get(first.where, "{}").format(place)
    before = max(each.before for each in group)
    if not first.causes:
        there = f"; the model runs {', '.join(first.runs[:RUNS])} there" if first.runs else ""
        yield f"{place}: differs by {amount(before)}, which nothing that was tried explains{there}"
        return
    text = "; ".join(cause.text for cause in first.causes)
    after = max(each.after or 0.0 for each in group)
    explains = "explain" if len(group) > 1 else "explains"
    yield f"{place}: {text}: {explains} {amount(before)} -> {amount(after)}"
    yield from (f"    {line}" for line in first.lines)


def amount(relative: float) -> str:
    """A relative difference; it is infinite between two shapes, and where a model puts out what is not finite."""
    return "another shape or no number" if isinf(relative) else f"{relative:.1e}" if relative else "0"


def _plain(value: Any) -> Any:
    """As JSON knows it."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if name != "case"}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _kind(found: Finding) -> str:
    """The layer's last name without its number: norm of norm1."""
    return found.layer.rpartition(".")[2].rstrip("0123456789")
