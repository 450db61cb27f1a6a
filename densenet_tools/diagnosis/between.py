"""What stands between the layers: activations, concatenations, sums, gates, and what may be there instead.

What enters a layer is made here, by the reference, of what the model's own layers before it put out, and is compared
with what does enter it: so a fault is seen where it sits, whatever came before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import erf

import numpy as np

from densenet_tools.diagnosis.failing import Case
from densenet_tools.diagnosis.layers import computed, settings_of
from densenet_tools.diagnosis.matching import Matched
from densenet_tools.diagnosis.steps import Step
from spec.blocks import DenseLayer, Inception, Residual, SqueezeExcitation
from spec.layers import AvgPool, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU, Sigmoid
from spec.recording import INPUT, Recording
from spec.reference.forward import Pass, apply

Function = Callable[..., np.ndarray]
Trial = Mapping[int, "Other"]


@dataclass(frozen=True)
class Other:
    """Another function in the place of a step's; with `more`, one that follows it on the way to one layer alone."""

    cause: str
    text: str
    function: Function = field(compare=False)
    more: bool = False


ACTIVATIONS: dict[str, Function] = {
    "leaky ReLU of slope 0.01": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky ReLU of slope 0.1": lambda x: np.where(x > 0, x, 0.1 * x),
    "leaky ReLU of slope 0.2": lambda x: np.where(x > 0, x, 0.2 * x),
    "leaky ReLU of slope 0.3": lambda x: np.where(x > 0, x, 0.3 * x),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "SELU": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "GELU": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    "GELU by tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "SiLU": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(x, 0),
    "sigmoid": lambda x: _sigmoid(x),
    "hard sigmoid, x / 6 + 1 / 2": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard sigmoid, 0.2 x + 1 / 2": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "softmax": lambda x: (
        np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)
    ),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "absolute value": np.abs,
}
SIGMOIDS = ("hard sigmoid, x / 6 + 1 / 2", "hard sigmoid, 0.2 x + 1 / 2", "tanh", "softmax")


class Between:
    """What each step's value is in a model that was recorded: its own where it is a layer's, else made of these.

    `accepted` has what was found to stand in a step's place, `known` values that were found right, or that nothing
    explains: both hold for all that comes after, so that one fault is told once.
    """

    def __init__(self, steps: Sequence[Step], recording: Recording, matched: Matched) -> None:
        self.steps, self.recording, self.matched = steps, recording, matched
        self.accepted: dict[int, Other] = {}
        self.known: dict[int, np.ndarray] = {}

    def value(self, number: int, trial: Trial | None = None) -> np.ndarray:
        """A step's value, in float64, with other functions in the place of those of some steps, or behind the last."""
        trial = trial or {}
        found = self._value(number, trial)
        other = trial.get(number)
        return other.function(found) if other and other.more else found

    def _value(self, number: int, trial: Trial) -> np.ndarray:
        if number == INPUT:
            return self.recording.images.astype("float64")
        if number in self.matched.calls:
            return shaped(self.steps[number], self.recording.outputs[self.matched.calls[number]].astype("float64"))
        if number in self.known:
            return self.known[number]
        ends = [self._value(source, trial) for source in self.steps[number].sources]
        other = trial.get(number, self.accepted.get(number))
        return other.function(*ends) if other and not other.more else right(self.steps[number], *ends)

    def case(self, number: int, found: np.ndarray) -> Case | None:
        """How a step's value comes from those of the layers before, by itself; None where it is the images."""
        places = self.unsure(number)
        inner = [each for each in dict.fromkeys(reversed(places)) if each != INPUT and each not in self.matched.calls]
        inner = [each for each in inner if each not in self.known]
        if not inner:
            return None
        outer = {source for each in inner for source in self.steps[each].sources} - set(inner)
        inputs = {self._name(each): self._value(each, {}) for each in sorted(outer)}
        steps = [
            (self._name(each), self.steps[each].node, tuple(map(self._name, self.steps[each].sources)))
            for each in inner
        ]
        return Case(inputs, {}, tuple(steps), found)

    def _name(self, number: int) -> str:
        return "images" if number == INPUT else self.steps[number].path

    def others(self, number: int) -> Iterator[Other]:
        """What is tried in a step's place, and behind it."""
        step = None if number == INPUT else self.steps[number]
        if step and isinstance(step.node, Residual) and step.node.projection:
            first = next(each for each in self.steps if each.path == f"{step.path}.conv1")
            x, stride = self._value(first.sources[0], {}), step.node.stride
            yield Other(
                "projection", "the shortcut is not projected", lambda branch, _: _unprojected(x, branch, stride)
            )
        yield from others(step)

    def unsure(self, number: int) -> list[int]:
        """The steps between the layers before and this one that have not been found right yet, this one first."""
        if number == INPUT or number in self.matched.calls or number in self.known:
            return [number]
        return [number, *(each for source in self.steps[number].sources for each in self.unsure(source))]

    def settle(self, number: int, trial: Trial | None = None) -> None:
        """From now on the steps up to this one are as they were found, with the functions of `trial`."""
        self.accepted |= {place: other for place, other in (trial or {}).items() if not other.more}
        for each in reversed(self.unsure(number)):
            if each != INPUT and each not in self.matched.calls:
                self.known[each] = self._value(each, {})

    def take(self, number: int, value: np.ndarray) -> None:
        """From now on a step's value is what the model has, though nothing explains it."""
        if number != INPUT and number not in self.matched.calls:
            self.known[number] = value


def right(step: Step, *ends: np.ndarray) -> np.ndarray:
    """What the reference makes of them; a layer without parameters that the model has not is made here, too."""
    if isinstance(step.node, MaxPool | AvgPool | GlobalAvgPool):
        return computed(step.node, ends[0], {}, settings_of(step.node))
    with np.errstate(all="ignore"):  # of exp, where a model's values are others
        return apply(step.node, *ends, run=Pass({}), path=step.path)


def shaped(step: Step, value: np.ndarray) -> np.ndarray:
    """A model may keep axes of length 1 that the network has not, and the other way round."""
    if isinstance(step.node, Linear):
        return value.reshape(len(value), -1)
    if isinstance(step.node, GlobalAvgPool) and value.ndim == 2:
        return value[:, :, None, None]
    return value


def others(step: Step | None) -> Iterator[Other]:
    """What is tried in a step's place, and behind it; without a step, behind the images."""
    node = step.node if step else None
    if isinstance(node, ReLU):
        yield Other("relu_missing", "no ReLU", _same)
        yield from (Other("activation", f"{name} in place of ReLU", f) for name, f in ACTIVATIONS.items())
    elif isinstance(node, Sigmoid):
        yield Other("gate", "no sigmoid", _same)
        yield from (Other("gate", f"{name} in place of sigmoid", ACTIVATIONS[name]) for name in SIGMOIDS)
        yield Other("gate", "ReLU in place of sigmoid", _relu)
        yield Other("gate", "the gate is twice the sigmoid", lambda x: 2 * _sigmoid(x))
    elif isinstance(node, DenseLayer):
        yield Other("concatenation", "the new channels come first", lambda x, new: np.concatenate([new, x], 1))
        yield Other("concatenation", "only the new channels go on", lambda x, new: new)
        yield Other("concatenation", "the new channels are left out", lambda x, new: x)
        yield Other(
            "in_place", "a ReLU also changes the channels before", lambda x, new: np.concatenate([_relu(x), new], 1)
        )
        yield Other("relu_more", "a ReLU of the new channels", lambda x, new: np.concatenate([x, _relu(new)], 1))
    elif isinstance(node, SqueezeExcitation):
        yield Other("gate", "the gate is added", lambda x, gate: x + gate[:, :, None, None])
        yield Other("gate", "the gated is added to the input", lambda x, gate: x + x * gate[:, :, None, None])
        yield Other("gate", "the gate is left out", lambda x, gate: x)
    elif isinstance(node, Residual):
        yield Other("residual", "the ReLU comes before the sum", lambda branch, shortcut: _relu(branch) + shortcut)
        yield Other("residual", "a ReLU before the sum, too", lambda branch, shortcut: _relu(_relu(branch) + shortcut))
        yield Other("residual", "no ReLU behind the sum", lambda branch, shortcut: branch + shortcut)
        yield Other("residual", "no shortcut", lambda branch, shortcut: _relu(branch))
        yield Other("residual", "the branch is left out", lambda branch, shortcut: _relu(shortcut))
    elif isinstance(node, Inception):
        for order in list(permutations(range(4)))[1:]:
            names = ", ".join(str(i + 1) for i in order)
            yield Other("concatenation", f"branches in the order {names}", _ordered(order))
    elif isinstance(node, Flatten):
        for axes, text in FLATTENED.items():
            yield Other("flatten", f"flattened as {text}", _flattened(axes))
    elif isinstance(node, MaxPool | AvgPool):
        yield Other("pool_missing", "no pool", _same)
    if not isinstance(node, Flatten):
        yield Other("relu_more", "a ReLU more", _relu, more=True)
        yield from (Other("activation_more", f"{name} more", f, more=True) for name, f in ACTIVATIONS.items())


FLATTENED = {(0, 2, 3, 1): "(H, W, C)", (0, 3, 2, 1): "(W, H, C)", (0, 1, 3, 2): "(C, W, H)", (0, 3, 1, 2): "(W, C, H)"}


def _unprojected(x: np.ndarray, branch: np.ndarray, stride: int) -> np.ndarray:
    """Every so many pixels of the block's input, zeros for new channels (He et al. 2016, section 3.3, option A)."""
    new = branch.shape[1] - x.shape[1]
    return _relu(branch + np.pad(x[:, :, ::stride, ::stride], ((0, 0), (0, new), (0, 0), (0, 0))))


def _flattened(axes: tuple[int, ...]) -> Function:
    return lambda x: x.transpose(axes).reshape(len(x), -1)


def _ordered(order: tuple[int, ...]) -> Function:
    return lambda *ends: np.concatenate([ends[i] for i in order], axis=1)


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(erf, otypes=["float64"])(x)
