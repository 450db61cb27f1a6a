"""What each step of a model should hand back in training, made by the reference of the model's own gradients.

The loss's gradient by a layer's output is the sum of what the layers that use it hand back, through whatever stands
between. Each part is made of the model's own gradient there, so that a fault is seen where it sits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from densenet_tools.diagnosis.between import shaped
from densenet_tools.diagnosis.explaining import TOLERANCES
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.replaying import Replayed
from densenet_tools.diagnosis.steps import Step
from spec.blocks import SqueezeExcitation
from spec.layers import BatchNorm, Softmax
from spec.recording import INPUT, Call, Training
from spec.reference.backward import pullback
from spec.reference.forward import Pass, per_channel

Edge = tuple[int, int]  # what a step hands back: its number, and to which of its sources
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
            parts.append(of_output(self.training, self.steps[-1]))
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

    def scale(self, number: int) -> float:
        """The largest of what is summed up where it arrives: what cancels out there, or before, is rounding."""
        parts = [self.part(edge) for edge in self.users[number]]
        sizes = [float(np.abs(np.nan_to_num(part)).max()) for part in parts if part is not None]
        sizes += [CANCELLED * self._before_cancelling(edge) for edge in self.edges(number)]
        return max(sizes, default=0.0)

    def slope(self, number: int) -> np.ndarray:
        """What a batch norm multiplies each channel by."""
        variance = self.replayed.enters(number).var(axis=(0, 2, 3)) + vars(self.replayed.node(number))["eps"]
        return np.asarray(self.weights[f"{self.steps[number].path}.weight"] / np.sqrt(variance))

    def _before_cancelling(self, edge: Edge) -> float:
        """The magnitudes of what a batch norm's statistics take from a gradient, and a gate sums up over pixels."""
        (user, k), step = edge, self.steps[edge[0]]
        norm, gate = isinstance(step.node, BatchNorm), isinstance(step.node, SqueezeExcitation) and k == 1
        gradient = self.gradient(user) if norm else self.at(user) if gate else None
        if gradient is None:
            return 0.0
        if edge not in self.magnitudes:
            gated = None if norm else self.replayed.between.value(step.sources[0])
            terms = per_channel(self.slope(user)) * gradient if norm else np.abs(gradient * gated).sum(axis=(2, 3))
            self.magnitudes[edge] = float(np.abs(terms).max())
        return self.magnitudes[edge]

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


def of_output(training: Training, last: Step) -> np.ndarray | None:
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


def departure(found: np.ndarray, expected: np.ndarray, scale: float) -> float:
    """The largest difference, relative to the largest value, or to `scale` where that is larger; NaN is not known."""
    known = ~np.isnan(expected)
    size = max(float(np.abs(expected[known]).max(initial=0.0)), scale)
    relative = float(np.abs(found - expected)[known].max(initial=0.0)) / (size or 1.0)
    return relative if np.isfinite(relative) else float("inf")


def factors(parts: Sequence[np.ndarray], wanted: np.ndarray) -> list[float]:
    """Those with which the parts sum up to what is wanted, by least squares."""
    columns = np.nan_to_num(np.stack([part.ravel() for part in parts]))
    solved = np.linalg.lstsq(columns @ columns.T, columns @ np.nan_to_num(wanted.ravel()), rcond=None)[0]
    return [0.0 if abs(factor) < NOTHING else float(factor) for factor in solved]
