"""A model's training beside the network's: what a training pass computes, its gradients, statistics, and the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import spec
from densenet_tools.diagnosis import arriving, mending, optimizing, parameters, updates
from densenet_tools.diagnosis.backward import Backward
from densenet_tools.diagnosis.findings import TRAINS, Cause, Finding
from densenet_tools.diagnosis.matching import match
from densenet_tools.diagnosis.replaying import replayed
from densenet_tools.diagnosis.steps import Step
from densenet_tools.diagnosis.suspect import Suspect


@dataclass(frozen=True)
class Trained:
    """The findings, how far the model is from the network at most, {what: relative difference}, and what it is."""

    findings: tuple[Finding, ...]
    differences: Mapping[str, float]
    notes: tuple[str, ...] = ()


def trained(
    suspect: Suspect, network: spec.Network, steps: Sequence[Step], images: np.ndarray, weights: spec.Weights
) -> Trained:
    """A training pass of the model, which holds `weights`, by canonical names."""
    training = suspect.record_training(images, np.arange(len(images)) % (network.num_classes or 1))
    matched = match(steps, training.recording, suspect.arrays())
    for number in sorted(matched.calls):
        if not np.isfinite(training.recording.outputs[matched.calls[number]]).all():
            cause = Cause("not_finite", "its output is not finite")
            return Trained((Finding(TRAINS, float("inf"), (cause,), 0.0, steps[number].path),), {})
    exact = {name: array.astype("float64") for name, array in weights.items()}
    replay = replayed(steps, training.recording, matched, exact)
    gradients, most = _gradients(Backward(training, matched, replay, exact))
    statistics, moved = updates.compared(training, matched, replay, exact, suspect.running_update)
    differences = {"gradients": most, "running statistics": moved}
    return Trained((*replay.findings, *gradients, *statistics), differences)


def stepped(suspect: Suspect, optimizer: Any, expected: Mapping[str, float | bool], seed: int) -> Trained:
    """Steps of an optimizer of the model, with weights and gradients that show every setting of it."""
    rng = np.random.default_rng([seed, 4])
    weights = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in suspect.arrays().items()}
    with suspect.holding(weights):
        gradients = optimizing.gradients_for(weights, seed)
        after = suspect.descend(optimizer, gradients, optimizing.FACTOR)
    trained = {name: weights[name] for name in after[0]}
    findings, descent, error = optimizing.compared(trained, gradients, after, expected)
    if descent is None:
        return Trained(tuple(findings), {})
    settings = {name: optimizing.number(name, getattr(descent, name)) for name in optimizing.SETTINGS}
    right = settings | {name: optimizing.number(name, value) for name, value in expected.items()}
    line = mending.optimizer_line(suspect.framework, right)
    told = ", ".join(f"{name} {value}" for name, value in settings.items() if value not in ("0", "False"))
    return Trained(
        tuple(replace(each, lines=(line,)) for each in findings),
        {"optimizer step": error},
        (f"the optimizer has {told}",),
    )


def _gradients(backward: Backward) -> tuple[list[Finding], float]:
    """What departs, from the output back to the images, and by how much at most."""
    found, most = [], 0.0
    for number in sorted(backward.matched.calls, reverse=True):
        for departs, finding in (*arriving.findings(backward, number), *parameters.findings(backward, number)):
            most = max(most, departs)
            found += [finding] if finding else []
    return found, most
