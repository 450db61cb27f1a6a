"""The gradient that arrives at a layer's output: on which way another passes back than should."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from densenet_tools.diagnosis.backward import Backward, Change, Edge, Trial, departure, factors
from densenet_tools.diagnosis.findings import BACKWARD, Cause, Finding
from densenet_tools.diagnosis.steps import Step
from spec.blocks import DenseLayer, Inception, Residual, SqueezeExcitation
from spec.layers import BatchNorm, ReLU, Sigmoid
from spec.reference.forward import per_channel
from spec.tree import Composite, Node

BRANCHES: dict[type[Node], tuple[str, ...]] = {
    DenseLayer: ("the channels before", "the new channels"),
    SqueezeExcitation: ("what is gated", "the gate"),
    Residual: ("the branch", "the shortcut"),
    Inception: tuple(f"branch {i}" for i in (1, 2, 3, 4)),
}


def findings(backward: Backward, number: int) -> Iterator[tuple[float, Finding | None]]:
    """How much departs at a layer's output, and what explains it: one way on which another passes back, then two."""
    step, call = backward.steps[number], backward.call(number)
    expected, own, scale = backward.at(number), backward.own(number), backward.scale(number)
    if expected is None or own is None:
        return
    before = departure(own, expected, scale)
    if before <= backward.tolerance:
        yield before, None
        return
    explained = []
    for trial, causes in _trials(backward, number, own):
        found = backward.at(number, trial)
        after = float("inf") if found is None else departure(own, found, scale)
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
            factor = factors([part], own - without)[0]
            yield {edge: _times(factor)}, (_cause(backward.steps[edge[0]], edge[1], factor),)
        for text, change in OTHERS.get(type(backward.steps[edge[0]].node), {}).items():
            yield {edge: change(backward, edge[0])}, (Cause("backward", text),)
    for (one, first), (two, second) in combinations(parts.items(), 2):
        a, b = factors([first, second], own - (whole - first - second))
        causes = _cause(backward.steps[one[0]], one[1], a), _cause(backward.steps[two[0]], two[1], b)
        yield {one: _times(a), two: _times(b)}, causes


def _departing(backward: Backward, layers: Sequence[int], trial: Trial) -> int:
    """At how many of these layers something departs with other ways back: at fewest with the right ones."""
    pairs = [(backward.own(number), backward.at(number, trial), number) for number in layers]
    return sum(
        departure(own, found, backward.scale(number)) > backward.tolerance
        for own, found, number in pairs
        if own is not None and found is not None
    )


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
    slope = per_channel(backward.slope(number))
    return lambda part, gradient: slope * gradient


def _as_it_is(backward: Backward, number: int) -> Change:
    return lambda part, gradient: gradient


# What else a node may hand back, by what is said of it.
OTHERS = {
    BatchNorm: {"no gradient through the batch's mean and variance": _through_constants},
    ReLU: {"the gradient passes where the input is negative, too": _as_it_is},
    Sigmoid: {"the gradient passes as if there were no sigmoid": _as_it_is},
}
