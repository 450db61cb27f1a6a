"""Each layer of a model beside the network's: what departs, and the cause that gives the model's numbers to rounding.

A layer may depart in what it is given and in what it makes of it. Both are looked at with the model's own numbers from
the layers before, so that a fault is seen where it sits, and later ones are not drowned by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np

from densenet_tools.diagnosis.between import Between, Trial
from densenet_tools.diagnosis.changes import changes, combined, with_changes
from densenet_tools.diagnosis.failing import Case
from densenet_tools.diagnosis.findings import GIVEN, HOLDS, OPERATION, Cause, Finding
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.operations import Arrays, Sides
from densenet_tools.diagnosis.preprocessing import of_images
from densenet_tools.diagnosis.steps import Step
from densenet_tools.parity.differences import difference
from spec.layers import Linear
from spec.recording import INPUT, Call, Recording
from spec.tree import Composite

# By how much a layer may depart by rounding, relative to its largest value.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
OUTPUT = "output"  # of the network, after its last layer
LEAST = -1e30  # values around a map that no maximum is, or -infinity


def findings(
    steps: Sequence[Step],
    recording: Recording,
    matched: Matched,
    arrays: Mapping[str, np.ndarray],
    search: bool = True,
) -> Iterator[Finding]:
    """What departs in each layer, in the order of the network, and at last in the output; causes are searched for."""
    between, tolerance = Between(steps, recording, matched), TOLERANCES[recording.dtype]
    for number in sorted(matched.calls):
        step = steps[number]
        call, x = with_padding(recording, matched.calls[number], tried(between, step.sources[0]))
        y = recording.outputs[matched.calls[number]].astype("float64")
        own = {last: arrays[name].astype("float64") for last, name in call.parameters.items() if name in arrays}
        if not np.isfinite(y).all():
            if np.isfinite(x).all():  # else it comes from before
                yield replace(_not_finite(own), layer=step.path, own=call.layer)
            continue
        if found := _in_what_it_is_given(between, step.sources[0], x, tolerance, search):
            runs = () if found.causes else tuple(_run_before(recording, matched, matched.calls[number]))
            yield replace(found, layer=found.layer or step.path, own=call.layer, runs=runs)
        if found := _in_what_it_does(step, call, x, own, y, tolerance, search):
            yield replace(found, layer=step.path, own=call.layer)
    logits = recording.value(recording.output).astype("float64")
    if not np.isfinite(logits).all():
        return
    if found := _in_what_it_is_given(between, len(steps) - 1, logits, tolerance, search):
        runs = () if found.causes else tuple(_run_before(recording, matched, recording.output, inclusive=True))
        yield replace(found, layer=found.layer or OUTPUT, runs=runs)


def departure(expected: np.ndarray | None, found: np.ndarray) -> float:
    """The relative difference; infinite where the shapes differ, or there is nothing to compare with."""
    if expected is None:
        return float("inf")
    if expected.size == found.size and expected.ndim != found.ndim and expected.shape[:2] == found.shape[:2]:
        found = found.reshape(expected.shape)  # axes of length 1
    relative = difference(found, expected)[1]
    return relative if np.isfinite(relative) else float("inf")


def _not_finite(own: Arrays) -> Finding:
    """A layer that makes what is no number, or infinite, of numbers."""
    counts = {last: int((~np.isfinite(array)).sum()) for last, array in own.items()}
    texts = [f"{count} of {own[last].size} values of {last} are not finite" for last, count in counts.items() if count]
    texts += ["running_var is negative"] if (own.get("running_var", np.zeros(1)) < 0).any() else []
    causes = tuple(Cause("not_finite", text) for text in texts)
    return Finding(HOLDS, float("inf"), causes, 0.0 if causes else None)


def dropped(expected: np.ndarray | None, x: np.ndarray) -> float | None:
    """The rate of a dropout: some values are zero, and all others larger by one factor."""
    if expected is None or expected.shape != x.shape:
        return None
    used = np.abs(expected) > 1e-6 * np.abs(expected).max()
    kept = used & (x != 0)
    if (kept == used).all() or not kept.any():
        return None
    factors = x[kept] / expected[kept]
    if np.ptp(factors) > 1e-3 * factors.mean() or factors.mean() <= 1:
        return None
    return float(1 - 1 / factors.mean())


def as_taken(step: Step, value: np.ndarray) -> np.ndarray:
    """As the network has it: a linear layer takes vectors, all others maps."""
    if isinstance(step.node, Linear):
        return value.reshape(len(value), -1)
    return value[:, :, None, None] if value.ndim == 2 else value


def tried(between: Between, source: int, trial: Trial | None = None) -> np.ndarray | None:
    """What is given then; None where the network cannot go on from what the model has."""
    try:
        with np.errstate(all="ignore"):
            return between.value(source, trial)
    except (ValueError, IndexError):
        return None


def with_padding(recording: Recording, number: int, expected: np.ndarray | None) -> tuple[Call, np.ndarray]:
    """The call and its input; what was put around that before, zeros or nothing of a max pool, is counted to the call.

    It may be an operation that does so, or several: then what is inside is `expected`.
    """
    call = recording.calls[number]
    x = recording.value(call.inputs[0]).astype("float64")
    before = recording.calls[call.inputs[0]] if call.inputs[0] >= 0 else None
    if "padding" not in call.settings:
        return call, x
    inside: np.ndarray | None
    if before is not None and before.kind == "pad":
        inside, sides, value = recording.value(before.inputs[0]), before.settings["padding"], before.settings["value"]
    elif border := _border(expected, x):
        inside, (sides, value) = expected, border
    else:
        return call, x
    if value != 0 and not (call.kind == "max_pool" and value < LEAST):
        return call, x
    (top, bottom), (left, right) = sides
    (more, below), (beside, behind) = call.settings["padding"]
    padding = (top + more, bottom + below), (left + beside, right + behind)
    settings = {**call.settings, "padding": padding, "count_include_pad": value == 0}
    return replace(call, settings=settings), np.asarray(inside, "float64")


def _in_what_it_is_given(
    between: Between, source: int, x: np.ndarray, tolerance: float, search: bool
) -> Finding | None:
    """`x` is what comes from the step `source` in the model."""
    expected = tried(between, source)
    before = departure(expected, x)
    if before <= tolerance:
        between.settle(source)
        return None
    for trial in _trials(between, source) if search else ():
        after = departure(tried(between, source, trial), x)
        if after <= tolerance:
            between.settle(source, trial)
            causes = tuple(Cause(other.cause, other.text) for other in trial.values())
            return _placed(between, source, trial, Finding(GIVEN, before, causes, after))
    case = between.case(source, x)
    between.take(source, x)
    if source == INPUT and (images := of_images(between.value(INPUT), x, tolerance)):
        return Finding(GIVEN, before, (Cause("preprocessing", images[0]),), images[1])
    if rate := dropped(expected, x):
        return Finding(GIVEN, before, (Cause("dropout", f"dropout of {rate:.2g} is active"),), 0.0)
    return Finding(GIVEN, before, case=case)


def _run_before(recording: Recording, matched: Matched, number: int, inclusive: bool = False) -> list[str]:
    """What the model runs between the layers before and a call, in order."""
    layers, seen, ahead = set(matched.calls.values()), set[int](), [number] if inclusive else []
    ahead += [] if inclusive else list(recording.calls[number].inputs[:1])
    while ahead:
        each = ahead.pop()
        if each >= 0 and each not in layers | seen:
            seen.add(each)
            ahead += recording.calls[each].inputs
    return list(dict.fromkeys(recording.calls[each].text for each in sorted(seen)))


def _placed(between: Between, source: int, trial: Trial, found: Finding) -> Finding:
    """What is not directly before the layer, as a gate's sigmoid, or combines its parts, has its fault to itself."""
    (place, other), *more = trial.items()
    if more or other.more or place == INPUT:
        return found
    step = between.steps[place]
    if place == source and not isinstance(step.node, Composite):
        return found
    return replace(found, where=OPERATION, layer=step.path)


def _in_what_it_does(
    step: Step, call: Call, x: np.ndarray, own: Arrays, y: np.ndarray, tolerance: float, search: bool
) -> Finding | None:
    """`x` is what the layer is given in the model, `own` what it holds there, and `y` what it makes of it."""
    x, y = as_taken(step, x), as_taken(step, y)
    before = departure(with_changes(step.node, (), x, own, y)[0], y)
    if before <= tolerance:
        return None
    for made in combined(list(changes(step.node, call, x, own))) if search else ():
        found, settings = with_changes(step.node, made, x, own, y)
        after = departure(found, y)
        if after <= tolerance:
            causes = tuple(Cause(change.cause, change.text.format(**settings)) for change in made)
            return Finding(OPERATION, before, causes, after)
    named = {f"{step.path}.{last}": array for last, array in own.items()}
    return Finding(OPERATION, before, case=Case({"x": x}, named, ((step.path, step.node, ("x",)),), y))


def _trials(between: Between, source: int) -> Iterator[Trial]:
    """One function other than it should be, then two, between the layers before and this one."""
    single = [
        (place, other)
        for place in dict.fromkeys(between.unsure(source))
        for other in between.others(place)
        if place == source or not other.more
    ]
    yield from ({place: other} for place, other in single)
    for (place, one), (second, other) in combinations(single, 2):
        if place != second:
            yield {place: one, second: other}


def _border(expected: np.ndarray | None, x: np.ndarray) -> tuple[Sides, float] | None:
    """The rows and columns that `x` has around `expected`, and the value in them; None where it is something else."""
    if expected is None or expected.ndim != x.ndim or x.ndim != 4 or min(np.subtract(x.shape, expected.shape)) < 0:
        return None
    more, beside = x.shape[2] - expected.shape[2], x.shape[3] - expected.shape[3]
    for top, left, value in product(range(more + 1), range(beside + 1), (0.0, -np.inf)):
        sides = (top, more - top), (left, beside - left)
        around = np.pad(expected, ((0, 0), (0, 0), *sides), constant_values=value)
        if (more or beside) and around.shape == x.shape and np.allclose(around, x, rtol=1e-5):
            return sides, value
    return None
