"""Each layer's gradient beside the network's: what should arrive there of the model's own gradients behind it.

The loss's gradient by a layer's output is the sum of what the layers that use it hand back, through whatever stands
between. Here the reference makes each part of the model's own gradient there, so that a fault is seen where it sits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Protocol

import numpy as np

from densenet_tools.diagnosis.between import shaped
from densenet_tools.diagnosis.explaining import TOLERANCES
from densenet_tools.diagnosis.findings import BACKWARD, Cause, Finding
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.replaying import Replayed
from densenet_tools.diagnosis.steps import Step
from spec.blocks import DenseLayer, Inception, Residual, SqueezeExcitation
from spec.layers import BatchNorm, ReLU, Sigmoid, Softmax
from spec.recording import INPUT, Call, Training
from spec.reference.backward import pullback
from spec.reference.forward import Pass, per_channel
from spec.tree import Composite, Node

Edge = tuple[int, int]  # what a step hands back: its number, and to which of its sources
BRANCHES: dict[type[Node], tuple[str, ...]] = {
    DenseLayer: ("the channels before", "the new channels"),
    SqueezeExcitation: ("what is gated", "the gate"),
    Residual: ("the branch", "the shortcut"),
    Inception: tuple(f"branch {i}" for i in (1, 2, 3, 4)),
}
NOTHING = 1e-4  # a factor below is none
CANCELLED = 0.1  # of the magnitudes that are summed up: a sum below that is compared with this, as its rounding is


class Change(Protocol):
    """Another gradient in the place of what a step hands back, which is `part`, of `gradient` at its output."""

    def __call__(self, part: np.ndarray, gradient: np.ndarray) -> np.ndarray: ...


Trial = Mapping[Edge, Change]


class Backward:
    """What steps hand back, in float64, of the model's own gradients where it shows one."""

    def __init__(self, training: Training, matched: Matched, replayed: Replayed, weights: Mapping[str, np.ndarray]):
        self.training, self.matched, self.replayed, self.weights = training, matched, replayed, weights
        self.steps: Sequence[Step] = replayed.between.steps
        self.tolerance = TOLERANCES[training.recording.dtype]
        self.users: dict[int, list[Edge]] = {number: [] for number in range(INPUT, len(self.steps))}
        for number, step in enumerate(self.steps):
            for k, source in enumerate(step.sources):
                self.users[source].append((number, k))
        self.accepted: Trial = {}
        self.arrived: dict[int, np.ndarray | None] = {}
        self.handed: dict[int, tuple[np.ndarray, ...]] = {}
        self.magnitudes: dict[Edge, float] = {}
        self.parameters: dict[str, np.ndarray] = {}  # gradients, by canonical names

    def at(self, number: int, trial: Trial | None = None) -> np.ndarray | None:
        """The gradient that should arrive at a step's output; None where it cannot be told."""
        if trial is None and number in self.arrived:
            return self.arrived[number]
        parts = [self.part(edge, trial) for edge in self.users[number]]
        if number == len(self.steps) - 1:
            parts.append(_of_output(self.training, self.steps[-1]))
        told = [part for part in parts if part is not None]
        found = sum(told[1:], start=told[0]) if len(told) == len(parts) else None
        if trial is None:
            self.arrived[number] = found
        return found

    def call(self, number: int) -> Call:
        """What a layer is in the model."""
        return self.training.recording.calls[self.matched.calls[number]]

    def own(self, number: int) -> np.ndarray | None:
        """The model's gradient by a layer's output, where it is seen."""
        found = self.training.gradients.get(self.matched.calls[number])
        if found is None:
            return None
        found = shaped(self.steps[number], found.astype("float64"))
        value = self.replayed.between.value(number)
        return found.reshape(value.shape) if found.size == value.size else None

    def gradient(self, number: int) -> np.ndarray | None:
        """That by a layer's output: the model's, or what should arrive where it shows none."""
        own = self.own(number)
        return self.at(number) if own is None else own

    def layer(self, number: int, gradient: np.ndarray) -> tuple[np.ndarray, ...]:
        """What a layer hands back; the gradients of its parameters are then in `parameters`."""
        if number not in self.handed:
            run = Pass(dict(self.weights), training=True, frozen_statistics=number in self.replayed.frozen)
            self.handed[number] = self._pulled(number, gradient, run)
            self.parameters |= run.gradients
        return self.handed[number]

    def accept(self, trial: Trial) -> None:
        """From now on these steps hand back what they were found to."""
        self.accepted = {**self.accepted, **trial}
        self.arrived.clear()
        for number in list(self.handed):
            if self.own(number) is None:
                del self.handed[number]

    def edges(self, number: int) -> Iterator[Edge]:
        """All ways on which something is handed back to this step, up to the next layers."""
        for edge in self.users[number]:
            yield edge
            if edge[0] not in self.matched.calls:
                yield from self.edges(edge[0])

    def part(self, edge: Edge, trial: Trial | None = None) -> np.ndarray | None:
        """What a step hands back to one of its sources."""
        user, k = edge
        other = {**self.accepted, **(trial or {})}.get(edge)
        layer = user in self.matched.calls
        gradient = self.gradient(user) if layer else self.at(user, trial)
        if gradient is None or user in self.replayed.unlike or user in self.replayed.given:
            return None
        parts = self.layer(user, gradient) if layer else self._pulled(user, gradient, Pass({}))
        return other(parts[k], gradient) if other else parts[k]

    def _pulled(self, number: int, gradient: np.ndarray, run: Pass) -> tuple[np.ndarray, ...]:
        step = self.steps[number]
        if number in self.replayed.masks:
            return (gradient * self.replayed.masks[number],)
        ends = (
            [self.replayed.enters(number)]
            if number in self.matched.calls
            else map(self.replayed.between.value, step.sources)
        )
        return pullback(self.replayed.node(number), gradient, *ends, run=run, path=step.path)


def compared(
    training: Training, matched: Matched, replayed: Replayed, weights: Mapping[str, np.ndarray]
) -> tuple[list[Finding], float]:
    """What departs, from the output back to the images, and by how much at most; `weights` are what both have."""
    backward = Backward(training, matched, replayed, weights)
    found, most = [], 0.0
    for number in sorted(matched.calls, reverse=True):
        for before, finding in (*_in_what_arrives(backward, number), *_in_parameters(backward, number)):
            most = max(most, before)
            found += [finding] if finding else []
    return found, most


def _in_what_arrives(backward: Backward, number: int) -> Iterator[tuple[float, Finding | None]]:
    """The gradient by a layer's output: one way on which another passes back, then two."""
    step, call = backward.steps[number], backward.call(number)
    expected, own, scale = backward.at(number), backward.own(number), _largest_part(backward, number)
    if expected is None or own is None:
        return
    before = _departure(own, expected, scale)
    if before <= backward.tolerance:
        yield before, None
        return
    explained = []
    for trial, causes in _trials(backward, number, own):
        found = backward.at(number, trial)
        after = float("inf") if found is None else _departure(own, found, scale)
        if after <= backward.tolerance:
            explained.append((trial, causes, after))
            if len(trial) > 1:
                break
    if not explained:
        yield before, Finding(BACKWARD, before, layer=step.path, own=call.layer)
        return
    ways = {edge for trial, _, _ in explained for edge in trial}
    others = [each for each in sorted(backward.matched.calls) if each < number and ways & set(backward.edges(each))]
    trial, causes, after = min(explained, key=lambda each: _departing(backward, others, each[0]))
    backward.accept(trial)
    places = {backward.steps[user].path for user, _ in trial}
    yield before, Finding(BACKWARD, before, causes, after, places.pop() if len(places) == 1 else step.path)


def _trials(backward: Backward, number: int, own: np.ndarray) -> Iterator[tuple[Trial, tuple[Cause, ...]]]:
    """Each way by itself, composites first, with the factor that explains most; then two."""
    edges = sorted(dict.fromkeys(backward.edges(number)), key=lambda edge: _rank(backward, edge))
    whole = backward.at(number, {})
    parts = {}
    for edge in edges:
        without = backward.at(number, {edge: _times(0.0)})
        if whole is not None and without is not None and (part := whole - without).any():
            parts[edge] = part
            factor = _factors([part], own - without)[0]
            yield {edge: _times(factor)}, (_cause(backward.steps[edge[0]], edge[1], factor),)
        for text, change in OTHERS.get(type(backward.steps[edge[0]].node), {}).items():
            yield {edge: change(backward, edge[0])}, (Cause("backward", text),)
    for (one, first), (two, second) in combinations(parts.items(), 2):
        a, b = _factors([first, second], own - (whole - first - second))
        causes = _cause(backward.steps[one[0]], one[1], a), _cause(backward.steps[two[0]], two[1], b)
        yield {one: _times(a), two: _times(b)}, causes


def _departing(backward: Backward, layers: Sequence[int], trial: Trial) -> int:
    """At how many of these layers something departs with other ways back: at fewest with the right ones."""
    pairs = [(backward.own(number), backward.at(number, trial), number) for number in layers]
    return sum(
        _departure(own, found, _largest_part(backward, number)) > backward.tolerance
        for own, found, number in pairs
        if own is not None and found is not None
    )


def _in_parameters(backward: Backward, number: int) -> Iterator[tuple[float, Finding | None]]:
    """What a layer's parameters should get of its own gradient, beside what they get."""
    step, call, gradient = backward.steps[number], backward.call(number), backward.gradient(number)
    if gradient is None or number in backward.replayed.unlike:
        return
    backward.layer(number, gradient)
    without: list[str] = []
    most = 0.0
    for last in (each for each in ("weight", "bias") if each in call.parameters):
        expected, weight = (each[f"{step.path}.{last}"] for each in (backward.parameters, backward.weights))
        own = backward.training.parameters.get(call.parameters[last], np.zeros(expected.shape))
        own, scale = own.astype("float64").reshape(expected.shape), CANCELLED * _magnitude(backward, number, last)
        before = _departure(own, expected, scale)
        if before > backward.tolerance and not own.any():
            without, most = [*without, last], max(before, most)
            continue
        told = Finding(BACKWARD, before, layer=step.path, own=call.layer)
        for cause, found in _of_parameter(last, own, expected, weight):
            if told.after is None and (after := _departure(own, found, scale)) <= backward.tolerance:
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
    (factor,) = _factors([expected], own)
    yield Cause("scaled", f"{last} gets {factor:.4g} times its gradient"), factor * expected
    factor, decay = _factors([expected, weight], own)
    text = f"{last} gets {decay:.4g} times itself besides its gradient"
    yield Cause("decay_in_gradient", text), factor * expected + decay * weight
    least, most = own.min(), own.max()
    yield Cause("clipped", f"{last} gets its gradient clipped to {most:.4g}"), np.clip(expected, least, most)


def _of_output(training: Training, last: Step) -> np.ndarray | None:
    """The loss's gradient by the logits (N, classes), or by the probabilities of a network that ends in these.

    None where the model alone ends in probabilities: of those that are nearly zero their logarithm's is rounding.
    """
    recording = training.recording
    output = recording.value(recording.output).astype("float64")
    rows = np.arange(len(output))
    if recording.calls[recording.output].kind in ("softmax", "log_softmax") and not isinstance(last.node, Softmax):
        return None
    if isinstance(last.node, Softmax):
        found = np.zeros(output.shape)
        found[rows, training.labels] = -1 / output[rows, training.labels]
        return found / len(output)
    found = np.exp(output - output.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    found[rows, training.labels] -= 1
    return found / len(output)


def _largest_part(backward: Backward, number: int) -> float:
    """Of what is summed up where it arrives: what cancels out there, or before, is rounding."""
    parts = [backward.part(edge) for edge in backward.users[number]]
    sizes = [float(np.abs(part).max()) for part in parts if part is not None]
    sizes += [CANCELLED * _before_cancelling(backward, edge) for edge in backward.edges(number)]
    return max(sizes, default=0.0)


def _before_cancelling(backward: Backward, edge: Edge) -> float:
    """The magnitudes of what a batch norm's statistics take from a gradient, and of what a gate sums up over pixels."""
    (user, k), step = edge, backward.steps[edge[0]]
    norm, gate = isinstance(step.node, BatchNorm), isinstance(step.node, SqueezeExcitation) and k == 1
    gradient = backward.gradient(user) if norm else backward.at(user) if gate else None
    if gradient is None:
        return 0.0
    if edge not in backward.magnitudes:
        x = backward.replayed.enters(user) if norm else backward.replayed.between.value(step.sources[0])
        magnitude = per_channel(_slope(backward, user, x)) * gradient if norm else np.abs(gradient * x).sum(axis=(2, 3))
        backward.magnitudes[edge] = float(np.abs(magnitude).max())
    return backward.magnitudes[edge]


def _magnitude(backward: Backward, number: int, last: str) -> float:
    """Of what is summed up to a parameter's gradient: the Euclidean norms of both factors over images and pixels."""
    step, gradient = backward.steps[number], backward.gradient(number)
    x = backward.replayed.enters(number)
    if gradient is None:
        return 0.0
    axes = (0, *range(2, gradient.ndim))
    of_outputs = np.sqrt((gradient**2).sum(axis=axes)).max()
    count = gradient.size / gradient.shape[1]
    plain = last == "bias" or isinstance(step.node, BatchNorm)
    return float(of_outputs * (np.sqrt(count) if plain else np.sqrt((x**2).sum(axis=axes)).max()))


def _departure(found: np.ndarray, expected: np.ndarray, scale: float) -> float:
    """The largest difference, relative to the largest value, or to `scale` where that is larger."""
    size = max(float(np.abs(expected).max()), scale)
    relative = float(np.abs(found - expected).max()) / (size or 1.0)
    return relative if np.isfinite(relative) else float("inf")


def _factors(parts: Sequence[np.ndarray], wanted: np.ndarray) -> list[float]:
    """Those with which the parts sum up to what is wanted, by least squares."""
    columns = np.stack([part.ravel() for part in parts])
    found = np.linalg.lstsq(columns @ columns.T, columns @ wanted.ravel(), rcond=None)[0]
    return [0.0 if abs(factor) < NOTHING else float(factor) for factor in found]


def _times(factor: float) -> Change:
    return lambda part, gradient: factor * part


def _cause(step: Step, k: int, factor: float) -> Cause:
    place = BRANCHES[type(step.node)][k] if type(step.node) in BRANCHES else "what it is given"
    if not factor:
        return Cause("detached", f"no gradient to {place}")
    return Cause("scaled", f"the gradient to {place} is {factor:.4g} times what it should be")


def _rank(backward: Backward, edge: Edge) -> int:
    node = backward.steps[edge[0]].node
    return 0 if isinstance(node, Composite) else 1 if edge[0] in backward.matched.calls else 2


def _through_constants(backward: Backward, number: int) -> Change:
    """A batch norm's gradient where mean and variance count as constants."""
    slope = per_channel(_slope(backward, number, backward.replayed.enters(number)))
    return lambda part, gradient: slope * gradient


def _slope(backward: Backward, number: int, x: np.ndarray) -> np.ndarray:
    """What a batch norm multiplies each channel by."""
    variance = x.var(axis=(0, 2, 3)) + vars(backward.replayed.node(number))["eps"]
    return np.asarray(backward.weights[f"{backward.steps[number].path}.weight"] / np.sqrt(variance))


def _as_it_is(backward: Backward, number: int) -> Change:
    return lambda part, gradient: gradient


# What else a node may hand back, by what is said of it.
OTHERS = {
    BatchNorm: {"no gradient through the batch's mean and variance": _through_constants},
    ReLU: {"the gradient passes where the input is negative, too": _as_it_is},
    Sigmoid: {"the gradient passes as if there were no sigmoid": _as_it_is},
}
