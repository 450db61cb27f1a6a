"""A training pass of a model beside the network's: batch norms by the batch, dropout with the model's own masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from densenet_tools.diagnosis.between import Between, Other
from densenet_tools.diagnosis.changes import SOLVED, Change, with_changes
from densenet_tools.diagnosis.explaining import TOLERANCES, as_taken, departure, tried, with_padding
from densenet_tools.diagnosis.findings import TRAINS, Cause, Finding
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.operations import Arrays
from densenet_tools.diagnosis.steps import Step
from spec.layers import BatchNorm, Dropout
from spec.recording import INPUT, Call, Recording
from spec.tree import Node

BY_BATCH = Change("training", "the batch's statistics", {"statistics": "batch"})
OTHER_EPS = Change("eps", "eps {eps:.4g}", {"eps": SOLVED})


@dataclass
class Replayed:
    """What a training pass showed: values between the layers, and where the model does not do what the network does.

    `nodes` has batch norms with the model's epsilon, `masks` what each dropout multiplied by, `given` what layers are
    given where it is something else than it should be, `frozen` the batch norms that use running statistics. Of the
    steps in `unlike` nothing can be said, as they compute something else; behind those in `dropped` is a dropout too
    many.
    """

    between: Between
    nodes: dict[int, Node] = field(default_factory=dict)
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    given: dict[int, np.ndarray] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    unlike: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def node(self, number: int) -> Node:
        """What a step is in the model."""
        return self.nodes.get(number, self.between.steps[number].node)

    def enters(self, number: int) -> np.ndarray:
        """What a layer is given in the model."""
        found = self.given.get(number)
        return self.between.value(self.between.steps[number].sources[0]) if found is None else found


def replayed(
    steps: Sequence[Step], recording: Recording, matched: Matched, weights: Mapping[str, np.ndarray]
) -> Replayed:
    """Each layer on what it is given in the model; `weights` are what both have, under canonical names."""
    found = Replayed(Between(steps, recording, matched))
    tolerance = TOLERANCES[recording.dtype]
    found.findings += _dropouts(found, recording)
    for number in sorted(matched.calls):
        step, source = steps[number], steps[number].sources[0]
        expected, places = tried(found.between, source), set(found.between.unsure(source))
        call, x = with_padding(recording, matched.calls[number], expected)
        if (before := departure(expected, x)) > tolerance:
            found.unlike |= places - set(matched.calls)
            found.between.take(source, x)
            found.given[number] = as_taken(step, x)
            if not places & found.dropped:
                found.findings.append(Finding(TRAINS, before, layer=step.path, own=call.layer))
        else:
            found.between.settle(source)
        own = {last: weights[f"{step.path}.{last}"] for last in step.node.parameter_shapes()}
        y = as_taken(step, recording.outputs[matched.calls[number]].astype("float64"))
        found.findings += _in_what_it_does(found, number, as_taken(step, x), own, y, tolerance, call.layer)
    return found


def _in_what_it_does(
    found: Replayed, number: int, x: np.ndarray, own: Arrays, y: np.ndarray, tolerance: float, name: str
) -> Iterator[Finding]:
    """A batch norm may have another epsilon, or use its running statistics in training, too."""
    step = found.between.steps[number]
    right = (BY_BATCH,) if isinstance(step.node, BatchNorm) else ()
    before = departure(with_changes(step.node, right, x, own, y)[0], y)
    if before <= tolerance:
        return
    if right:
        value, settings = with_changes(step.node, (BY_BATCH, OTHER_EPS), x, own, y)
        if departure(value, y) <= tolerance:  # which inference shows
            found.nodes[number] = replace(step.node, eps=settings["eps"])  # type: ignore[type-var]
            return
    after = departure(with_changes(step.node, (), x, own, y)[0], y)
    if after > tolerance:
        found.unlike.add(number)
        yield Finding(TRAINS, before, layer=step.path, own=name)
        return
    found.frozen.add(number)
    cause = Cause("frozen_statistics", "running statistics, not the batch's")
    yield Finding(TRAINS, before, (cause,), after, step.path, name)


def _dropouts(found: Replayed, recording: Recording) -> Iterator[Finding]:
    """Those of both, one after the other, where there are as many; else what is more, or missing."""
    between = found.between
    drops = [number for number, step in enumerate(between.steps) if isinstance(step.node, Dropout)]
    calls = [number for number, call in enumerate(recording.calls) if _is_active(call)]
    if len(drops) == len(calls):
        for drop, number in zip(drops, calls):
            found.masks[drop] = mask = _mask(recording, number)
            between.accepted[drop] = Other("dropout", "", lambda x, mask=mask: x * np.nan_to_num(mask))
            rate, right = recording.calls[number].settings["rate"], vars(between.steps[drop].node)["rate"]
            if abs(rate - right) > 1e-6:
                cause = Cause("rate", f"dropout of {rate:g}, {right:g} expected")
                yield Finding(TRAINS, abs(rate - right) / right, (cause,), 0.0, between.steps[drop].path)
        return
    for drop in drops if not calls else ():
        cause = Cause("rate", f"no dropout, {vars(between.steps[drop].node)['rate']:g} expected")
        yield Finding(TRAINS, 1.0, (cause,), 0.0, between.steps[drop].path)
    layers = {call: number for number, call in between.matched.calls.items()}
    for call in (recording.calls[number] for number in calls):
        number = layers.get(call.inputs[0], INPUT)
        found.dropped.add(number)
        cause = Cause("dropout", f"dropout of {call.settings['rate']:g} behind it, which the network has not")
        yield Finding(TRAINS, 1.0, (cause,), 0.0, between.steps[number].path if number != INPUT else "", call.layer)


def _mask(recording: Recording, number: int) -> np.ndarray:
    """What a dropout has multiplied by; of a zero nobody can tell: NaN."""
    before, after = recording.inputs(number)[0].astype("float64"), recording.outputs[number].astype("float64")
    return np.divide(after, before, out=np.full_like(after, np.nan), where=before != 0)


def _is_active(call: Call) -> bool:
    return call.kind == "dropout" and bool(call.settings.get("training", True)) and call.settings.get("rate", 0) > 0
