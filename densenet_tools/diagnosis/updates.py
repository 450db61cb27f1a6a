"""What a training pass makes of running statistics, beside what the framework's own batch norm would."""

from collections.abc import Mapping

import numpy as np

from densenet_tools.diagnosis.explaining import TOLERANCES
from densenet_tools.diagnosis.findings import UPDATE, Cause, Finding
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.replaying import Replayed
from densenet_tools.parity.differences import difference
from spec.layers import BatchNorm
from spec.recording import Training
from spec.running import RunningUpdate

LAST = ("running_mean", "running_var")
Statistics = dict[str, np.ndarray]


def compared(
    training: Training, matched: Matched, replayed: Replayed, weights: Mapping[str, np.ndarray], update: RunningUpdate
) -> tuple[list[Finding], float]:
    """What departs, and by how much at most; `update` is how the framework does it, `weights` what both have."""
    tolerance, steps, result, most = TOLERANCES[training.recording.dtype], replayed.between.steps, [], 0.0
    for number, call_number in sorted(matched.calls.items()):
        step, call = steps[number], training.recording.calls[call_number]
        if not isinstance(step.node, BatchNorm) or number in replayed.frozen:
            continue
        names = {last: call.parameters.get(last, "") for last in LAST}
        if not all(name in training.buffers for name in names.values()):
            continue  # it has none, which is told of its weights
        before = {last: weights[f"{step.path}.{last}"] for last in LAST}
        found = {last: training.buffers[name].astype("float64").reshape(-1) for last, name in names.items()}
        x = replayed.enters(number)
        decay = float(np.dtype(update.decay_dtype).type(step.node.decay))
        departs = _departure(found, _after(before, _batch(x, update.unbiased), decay))
        if departs > tolerance:
            causes, after = _explained(found, before, x, update.unbiased, decay, tolerance)
            result.append(Finding(UPDATE, departs, causes, after if causes else None, step.path, call.layer))
        most = max(most, departs)
    return result, most


def _batch(x: np.ndarray, unbiased: bool) -> Statistics:
    """Mean and variance (C,) of a batch."""
    return {"running_mean": x.mean(axis=(0, 2, 3)), "running_var": x.var(axis=(0, 2, 3), ddof=int(unbiased))}


def _after(before: Statistics, batch: Statistics, decay: float) -> Statistics:
    return {last: decay * before[last] + (1 - decay) * batch[last] for last in LAST}


def _departure(found: Statistics, expected: Statistics) -> float:
    relative = max(difference(found[last], expected[last])[1] for last in LAST)
    return relative if np.isfinite(relative) else float("inf")


def _explained(
    found: Statistics, before: Statistics, x: np.ndarray, unbiased: bool, right: float, tolerance: float
) -> tuple[tuple[Cause, ...], float]:
    """The decay is solved for, with either variance; then with neither mean nor variance updated."""
    kinds = {True: "unbiased", False: "biased"}
    for other in (unbiased, not unbiased):
        batch = _batch(x, other)
        decay = _solved(found, before, batch)
        for tried in (right, decay):
            after = _departure(found, _after(before, batch, tried))
            if after <= tolerance:
                causes = [] if tried == right else [_of_decay(decay, right)]
                if other != unbiased:
                    text = f"the batch's variance is {kinds[other]}, the framework's own is {kinds[unbiased]}"
                    causes.append(Cause("variance_kind", text))
                return tuple(causes), after
    expected = _after(before, _batch(x, unbiased), right)
    for last in LAST:
        after = _departure(found, {**expected, last: before[last]})
        if after <= tolerance:
            return (Cause("not_updated", f"{last} is not updated"),), after
    return (), 0.0


def _solved(found: Statistics, before: Statistics, batch: Statistics) -> float:
    """The share of the old statistics that is kept, by least squares, to four decimals."""
    moved = np.concatenate([(found[last] - batch[last]) / np.abs(before[last]).max() for last in LAST])
    whole = np.concatenate([(before[last] - batch[last]) / np.abs(before[last]).max() for last in LAST])
    return round(float((moved @ whole) / (whole @ whole)), 4)


def _of_decay(decay: float, right: float) -> Cause:
    if decay == 1:
        return Cause("not_updated", "running statistics are not updated")
    if abs(decay - right**2) < 1e-4:
        return Cause("updated_twice", "running statistics are updated twice in a pass, as where it is computed anew")
    swapped = ": momentum the wrong way round" if abs(decay - (1 - right)) < 1e-6 else ""
    return Cause("decay", f"keeps {max(decay, 0):.3g} of the running statistics, {right:g} expected{swapped}")
