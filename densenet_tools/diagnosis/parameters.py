"""The gradients that a layer's parameters get, beside those that its own input and its own gradient make."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from densenet_tools.diagnosis.backward import CANCELLED, Backward, departure, factors
from densenet_tools.diagnosis.findings import BACKWARD, Cause, Finding
from spec.layers import BatchNorm

ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def findings(backward: Backward, number: int) -> Iterator[tuple[float, Finding | None]]:
    """What a layer's parameters should get of its own gradient, beside what they get."""
    step, call, gradient = backward.steps[number], backward.call(number), backward.gradient(number)
    if gradient is None or number in backward.replayed.unlike:
        return
    backward.layer(number, gradient)
    without: list[str] = []
    most = 0.0
    for last in (each for each in call.parameters if f"{step.path}.{each}" in backward.parameters):
        expected, weight = (each[f"{step.path}.{last}"] for each in (backward.parameters, backward.weights))
        own = backward.training.parameters.get(call.parameters[last], np.zeros(expected.shape))
        own, scale = own.astype("float64").reshape(expected.shape), _rounding(backward, number, last)
        before = departure(own, expected, scale)
        if before > backward.tolerance and not own.any():
            without, most = [*without, last], max(before, most)
            continue
        told = Finding(BACKWARD, before, layer=step.path, own=call.layer)
        for cause, found in _of_parameter(last, own, expected, weight):
            if told.after is None and (after := departure(own, found, scale)) <= backward.tolerance:
                told = replace(told, causes=(cause,), after=after)
        yield before, told if before > backward.tolerance else None
    if without:
        text = f"{' and '.join(without)} {'get' if len(without) > 1 else 'gets'} no gradient"
        unseen = backward.own(number) is None
        cause = Cause("detached", f"computed without gradients: {text}") if unseen else Cause("frozen", text)
        yield most, Finding(BACKWARD, most, (cause,), 0.0, step.path, call.layer)


def _of_parameter(
    last: str, own: np.ndarray, expected: np.ndarray, weight: np.ndarray
) -> Iterator[tuple[Cause, np.ndarray]]:
    """What a parameter may get instead of its gradient."""
    (factor,) = factors([expected], own)
    yield Cause("scaled", f"{last} gets {factor:.4g} times its gradient"), factor * expected
    factor, decay = factors([expected, weight], own)
    text = f"{last} gets {decay:.4g} times itself besides its gradient"
    yield Cause("decay_in_gradient", text), factor * expected + decay * weight
    least, most = own.min(), own.max()
    yield Cause("clipped", f"{last} gets its gradient clipped to {most:.4g}"), np.clip(expected, least, most)


def _rounding(backward: Backward, number: int, last: str) -> float:
    """What a gradient is compared with where it is smaller: a share of the magnitudes that are summed up to it.

    These are the Euclidean norms of both factors over images and pixels. What has but one, as a bias, a framework may
    add up one by one, whose rounding grows with the root of how many there are.
    """
    step, gradient = backward.steps[number], backward.gradient(number)
    x = backward.replayed.enters(number)
    if gradient is None:
        return 0.0
    axes = (0, *range(2, gradient.ndim))
    of_outputs = float(np.sqrt((gradient**2).sum(axis=axes)).max())
    if last != "bias" and not isinstance(step.node, BatchNorm):
        return CANCELLED * of_outputs * float(np.sqrt((x**2).sum(axis=axes)).max())
    count = gradient.size / gradient.shape[1]
    one_by_one = 4 * ROUNDOFF[backward.training.recording.dtype] * np.sqrt(count) / backward.tolerance
    return float(max(CANCELLED, one_by_one) * of_outputs * np.sqrt(count))
