"""What a model's layers hold beside what a file says they hold: arrays that differ, and how they came to differ."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

import spec
from densenet_tools.diagnosis.findings import HOLDS, Cause, Finding
from densenet_tools.diagnosis.layers import AS_IT_IS, KERNELS, MATRICES
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.steps import Step
from densenet_tools.parity.differences import difference
from spec.recording import Recording

TOLERANCE = 1e-6  # of arrays that went through a file of another precision than the model's
ONES = ("weight", "running_var")  # are one where they do nothing, all others zero
Arrays = dict[str, np.ndarray]


def findings(
    steps: Sequence[Step],
    recording: Recording,
    matched: Matched,
    arrays: Mapping[str, np.ndarray],
    weights: spec.Weights,
) -> Iterator[Finding]:
    """The layers whose arrays are not those of `weights`, under canonical names, in the order of the network."""
    for number, call_number in sorted(matched.calls.items()):
        step, call = steps[number], recording.calls[call_number]
        shapes = step.node.parameter_shapes()
        right = {last: weights[f"{step.path}.{last}"].astype("float64") for last in shapes}
        own = {last: arrays[name].astype("float64") for last, name in call.parameters.items() if name in arrays}
        own = {last: array.reshape(shapes[last]) if last in shapes else array for last, array in own.items()}
        before = max((_departure(own, right, last) for last in right), default=0.0)
        if before <= TOLERANCE:
            continue
        causes, after = _explained(step, own, right, weights)
        yield Finding(HOLDS, before, causes, after if causes else None, step.path, call.layer)


def assigned(
    steps: Sequence[Step],
    recording: Recording,
    matched: Matched,
    arrays: Mapping[str, np.ndarray],
    weights: spec.Weights,
) -> Arrays:
    """{the model's own name: array} that gives it these weights; what it has besides becomes small and random."""
    found = {}
    rng = np.random.default_rng(0)
    for number, call_number in matched.calls.items():
        for last, name in recording.calls[call_number].parameters.items():
            array = weights.get(f"{steps[number].path}.{last}")
            if array is None:
                scale = np.abs(recording.outputs[call_number]).mean()
                array = rng.normal(0, 1, arrays[name].shape) * scale
            found[name] = array.reshape(arrays[name].shape).astype(arrays[name].dtype)
    return found


def taken(
    steps: Sequence[Step], recording: Recording, matched: Matched, arrays: Mapping[str, np.ndarray]
) -> spec.Weights:
    """The model's own arrays under canonical names; where it has none, what does nothing."""
    found = {}
    for number in matched.calls:
        for last, shape in steps[number].node.parameter_shapes().items():
            found[f"{steps[number].path}.{last}"] = np.ones(shape) if last in ONES else np.zeros(shape)
    return found | held(steps, recording, matched, arrays)


def held(
    steps: Sequence[Step], recording: Recording, matched: Matched, arrays: Mapping[str, np.ndarray]
) -> spec.Weights:
    """The model's own arrays under canonical names, as far as it has them."""
    found = {}
    for number, call_number in matched.calls.items():
        parameters = recording.calls[call_number].parameters
        for last, shape in steps[number].node.parameter_shapes().items():
            if parameters.get(last) in arrays:
                found[f"{steps[number].path}.{last}"] = arrays[parameters[last]].reshape(shape)
    return found


def _explained(step: Step, own: Arrays, right: Arrays, weights: spec.Weights) -> tuple[tuple[Cause, ...], float]:
    """Each array by itself; then the layer as a whole, as scale and shift may be each other's."""
    causes, rest = [], 0.0
    if {"weight", "bias"} <= own.keys() and "running_mean" in right:
        crossed = {**own, "weight": own["bias"], "bias": own["weight"]}
        if max(_departure(crossed, right, last) for last in ("weight", "bias")) <= TOLERANCE:
            causes.append(Cause("exchanged", "scale and shift exchanged"))
            own = crossed
    for last, array in right.items():
        departure = _departure(own, right, last)
        if departure <= TOLERANCE:
            continue
        cause, after = _of_array(step, last, own.get(last), array, weights)
        rest = max(rest, after)
        causes += [cause] if cause else []
    return tuple(dict.fromkeys(causes)) if rest <= TOLERANCE else (), rest


def _of_array(
    step: Step, last: str, own: np.ndarray | None, right: np.ndarray, weights: spec.Weights
) -> tuple[Cause | None, float]:
    if own is None:
        return Cause("absent", f"the layer has no {last}"), 0.0
    transforms = {4: KERNELS, 2: MATRICES}.get(own.ndim, {AS_IT_IS: lambda array: array})
    for name, transform in transforms.items():
        found = transform(right)
        if found.shape == own.shape and _relative(own, found) <= TOLERANCE:
            return Cause(f"{'kernel' if own.ndim == 4 else 'matrix'} {name}", f"{last} {name}"), 0.0
    if last in ("running_mean", "running_var") and np.ptp(own) == 0 and own[0] == float(last == "running_var"):
        return Cause("not_loaded", f"{last} not loaded: it is all {own[0]:g}"), 0.0
    if np.ptp(own) == 0:
        return Cause("not_loaded", f"{last} not loaded: it is all {own.flat[0] + 0.0:g}"), 0.0
    for other, array in weights.items():
        for name, transform in transforms.items() if array.shape == own.shape else ():
            if _relative(own, transform(array.astype("float64"))) <= TOLERANCE:
                also = "" if name == AS_IT_IS else f", {name}"
                return Cause("neighbour", f"{last} is that of {other.rpartition('.')[0]}{also}"), 0.0
    if last == "running_var":
        for text, found in (("its root", np.sqrt(right)), ("its inverse", 1 / right), ("its square", right**2)):
            if _relative(own, found) <= TOLERANCE:
                return Cause("variance", f"{last} is {text}"), 0.0
    factor = float((own * right).sum() / (right * right).sum())
    if _relative(own, factor * right) <= TOLERANCE:
        return Cause("scaled", f"{last} is {factor:.6g} times what it should be"), 0.0
    return None, _relative(own, right)


def _departure(own: Arrays, right: Arrays, last: str) -> float:
    return _relative(own[last], right[last]) if last in own else float("inf")


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return difference(found, expected)[1]
