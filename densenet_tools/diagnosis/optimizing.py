"""What an optimizer does with given gradients, beside the descent of spec.training.

Every kind of gradient descent moves a weight by a sum of the weight itself and of the gradients so far, each times a
factor. The factors are found by least squares, over all values at once, so that a decay of 1e-4 is seen through the
rounding of float32; then they are compared with those of the descent, and of its known relatives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from densenet_tools.diagnosis.findings import STEP, Cause, Finding

STEPS, FACTOR = 4, 0.5  # the learning rate of the last step is half of it
TOLERANCE = 1e-6  # of factors, relative to the learning rate: there a decay of 1e-4 is 1e-4
ROUNDING = 0.3  # of an epsilon times a value: what rounding it is off
TELLING = 2 + STEPS  # values that a parameter must have for its factors to be told
DEVIATIONS = 8  # of rounding, which a factor may also be off
NO_SUM = 1e-5  # of what is moved: where more is left, it is no sum of gradients
SETTINGS = ("learning_rate", "momentum", "nesterov", "weight_decay")
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Descent:
    """The settings of spec.training; then what relatives do: torch.optim.SGD, MXNet's "sgd", Keras' SGD."""

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_bypasses: bool = False
    rate_inside: bool = False
    dampening: float = 0.0

    def factors(self) -> np.ndarray:
        """(steps, 1 + steps): of the weight and of each gradient, in what each step has moved in all."""
        one = np.eye(1 + STEPS)
        weight, velocity, moved = one[0], 0 * one[0], []
        for i in range(STEPS):
            rate = self.learning_rate * (FACTOR if i == STEPS - 1 else 1.0)
            decay = self.weight_decay * weight
            gradient = one[i + 1] + (0 if self.decay_bypasses else decay)
            gradient = gradient * (rate if self.rate_inside else 1.0)
            velocity = self.momentum * velocity + gradient * (1 - self.dampening if i else 1.0)
            gradient = gradient + self.momentum * velocity if self.nesterov else velocity
            weight = weight - gradient * (1.0 if self.rate_inside else rate)
            weight = weight - (rate * decay if self.decay_bypasses else 0)
            moved.append(one[0] - weight)
        return np.stack(moved)


@dataclass(frozen=True)
class Factors:
    """Those of some parameters, from their normal equations; `left` is the sum of squares that they leave of a step."""

    matrix: np.ndarray
    right: np.ndarray
    left: np.ndarray
    size: int

    @property
    def found(self) -> np.ndarray:
        """(steps, 1 + steps), as Descent.factors has them."""
        found = np.zeros((STEPS, 1 + STEPS))
        for i in range(STEPS):
            n = i + 2
            found[i, :n] = np.linalg.lstsq(self.matrix[:n, :n], self.right[:n, i], rcond=None)[0]
        return found

    @property
    def rounding(self) -> np.ndarray:
        """(steps, 1 + steps): the deviation that each has by what is left of the values."""
        found = np.zeros((STEPS, 1 + STEPS))
        for i in range(STEPS):
            n = i + 2
            found[i, :n] = np.sqrt(self.left[i] / self.size * np.diag(np.linalg.pinv(self.matrix[:n, :n])))
        return found

    @property
    def decays(self) -> bool:
        """Whether a weight moves by its own size, too."""
        return bool((np.abs(self.found[:, 0]) > DEVIATIONS * self.rounding[:, 0]).any())


def gradients_for(weights: Arrays, seed: int) -> list[dict[str, np.ndarray]]:
    """Normal ones, for each of STEPS steps."""
    rng = np.random.default_rng([seed, 3])
    return [
        {name: rng.normal(size=each.shape).astype(each.dtype) for name, each in weights.items()} for _ in range(STEPS)
    ]


def compared(
    weights: Arrays, gradients: Sequence[Arrays], after: Sequence[Arrays], expected: Mapping[str, float | bool]
) -> tuple[list[Finding], Descent | None, float]:
    """What departs from the descent with the `expected` settings, what it was found to be, and how well that fits.

    `weights` are the parameters before, `after` those after each of STEPS steps with `gradients`, the last of them at
    FACTOR times the learning rate.
    """
    moved = {name: [weights[name].astype("float64") - each[name] for each in after] for name in weights}
    moving = [name for name in weights if any(each.any() for each in moved[name])]
    still = [name for name in weights if name not in moving]
    found = [_of_some("not_moved", "does not move", still, len(weights))] if still else []
    if not moving:
        return found, None, float("inf")
    largest = max(moving, key=lambda name: weights[name].size)
    factors = {name: _factors(weights[name], [each[name] for each in gradients], moved[name]) for name in moving}
    left = max(_left(factors[largest], moved[largest], step) for step in range(STEPS))
    if left > NO_SUM + _rounding(weights[largest], moved[largest][0]):
        kind = _kind(np.abs(moved[largest][0]), np.abs(gradients[0][largest]))
        return [*found, Finding(STEP, left, (Cause("optimizer", kind),), 0.0)], None, left
    others, whole = _groups(factors, largest)
    descent = _identified(whole)
    found += [*others, *_of_form(descent, whole), *_of_settings(descent, whole, expected)]
    return found, descent, _departure(descent, whole)


def _groups(factors: Mapping[str, Factors], largest: str) -> tuple[list[Finding], Factors]:
    """The parameters that are moved in another way than most, and those alike as one."""
    telling = {name: each for name, each in factors.items() if each.size >= TELLING}
    rates, found = {name: each.found[0, 1] for name, each in telling.items()}, []
    rate = float(np.median(list(rates.values() or [0.0])))
    other = [
        name
        for name, each in telling.items()
        if abs(rates[name] - rate) > 0.01 * rate + DEVIATIONS * each.rounding[0, 1]
    ]
    if other:
        text = f"a learning rate {rates[other[0]] / rate:.4g} times that of the others for"
        found.append(_of_some("rate_of_some", text, other, len(factors)))
    decayed = [name for name, each in telling.items() if each.decays]
    whole = _pooled([factors[name] for name in decayed or factors if name not in other] or [factors[largest]])
    seen = abs(whole.found[0, 0]) / (2 * DEVIATIONS) if decayed else 0.0  # where rounding is less, that decay would be
    bare = [name for name, each in telling.items() if not each.decays and each.rounding[0, 0] < seen]
    if bare:
        found.append(_of_some("decay_left_out", "no weight decay of", bare, len(factors)))
    return found, whole


def _factors(weight: np.ndarray, gradients: Sequence[np.ndarray], moved: Sequence[np.ndarray]) -> Factors:
    columns = np.stack([each.ravel().astype("float64") for each in (weight, *gradients)])
    after = np.stack([each.ravel() for each in moved])
    factors = Factors(columns @ columns.T, columns @ after.T, np.zeros(STEPS), columns.shape[1])
    left = ((after - factors.found @ columns) ** 2).sum(axis=1)
    rounding = (ROUNDING * np.finfo(weight.dtype).eps) ** 2 * (columns[0] @ columns[0])  # few values may leave less
    return replace(factors, left=np.maximum(left, rounding * np.arange(1, 1 + STEPS)))


def _left(factors: Factors, moved: Sequence[np.ndarray], step: int) -> float:
    """What a sum of gradients leaves of what was moved up to a step, relative to it."""
    return float(np.sqrt(factors.left[step]) / np.linalg.norm(moved[step]))


def _rounding(weight: np.ndarray, moved: np.ndarray) -> float:
    """What rounding of the weights may leave of a step, relative to it."""
    return float(2 * np.finfo(weight.dtype).eps * np.linalg.norm(weight) / np.linalg.norm(moved))


def _pooled(each: Sequence[Factors]) -> Factors:
    """All these parameters as one."""
    names = ("matrix", "right", "left", "size")
    return Factors(*(sum(getattr(factors, name) for factors in each) for name in names))


def _identified(factors: Factors) -> Descent:
    """The descent, or the first of its relatives, that has these factors to rounding; else the nearest."""
    found, tried = factors.found, []
    for dampened, bypasses, inside, nesterov in product((False, True), repeat=4):
        start = Descent(found[0, 1], 0.5, nesterov, decay_bypasses=bypasses, rate_inside=inside)
        names = ["learning_rate", "momentum"]
        names += [*(["weight_decay"] if factors.decays else []), *(["dampening"] if dampened else [])]
        tried.append(_fitted(start, found, names))
        if _fits(tried[-1], factors):
            return tried[-1]
    return min(tried, key=lambda descent: _departure(descent, factors))


def _fitted(descent: Descent, factors: np.ndarray, names: Sequence[str]) -> Descent:
    """With the numbers of these names that fit best, by Newton's method as Gauss has it."""
    for _ in range(20):
        here, slopes = descent.factors(), []
        for name in names:
            value = getattr(descent, name)
            step = 1e-6 * max(abs(value), 1e-3)
            slopes.append((replace(descent, **{name: value + step}).factors() - here).ravel() / step)
        change = np.linalg.lstsq(np.stack(slopes, axis=1), (factors - here).ravel(), rcond=None)[0]
        numbers = {name: getattr(descent, name) + float(each) for name, each in zip(names, change)}
        if not all(abs(number) < 1e3 for number in numbers.values()):
            return descent  # it runs away: this is not the form
        descent = replace(descent, **numbers)
    return descent


def _departure(descent: Descent, factors: Factors) -> float:
    """The largest difference of a factor, relative to the learning rate."""
    return float(np.abs(descent.factors() - factors.found).max() / abs(factors.found[0, 1]))


def _fits(descent: Descent, factors: Factors) -> bool:
    """Whether it has these factors, each to its own rounding."""
    bars = TOLERANCE * abs(factors.found[0, 1]) + DEVIATIONS * factors.rounding
    return bool((np.abs(descent.factors() - factors.found) <= bars).all())


def _of_form(descent: Descent, factors: Factors) -> Iterator[Finding]:
    """What of it is not the descent of spec.training."""
    before = _departure(replace(descent, decay_bypasses=False, rate_inside=False, dampening=0.0), factors)
    if not _fits(descent, factors):
        yield Finding(STEP, before)
        return
    causes = []
    if descent.decay_bypasses:
        causes.append(Cause("decay_bypasses", "the weight decay bypasses the momentum"))
    if descent.rate_inside:
        causes.append(Cause("rate_inside", "the learning rate is inside the velocity: a change acts late"))
    if descent.dampening:
        causes.append(Cause("dampening", f"dampening of {descent.dampening:.4g}"))
    if causes:
        yield Finding(STEP, before, tuple(causes), _departure(descent, factors))


def _of_settings(descent: Descent, factors: Factors, expected: Mapping[str, float | bool]) -> Iterator[Finding]:
    """Numbers that are not those that are expected."""
    for name, right in expected.items():
        other = replace(descent, **{name: right})  # type: ignore[arg-type]
        if not _fits(other, factors):
            text = f"{name} {number(name, getattr(descent, name))}, {number(name, right)} expected"
            yield Finding(STEP, _departure(other, factors), (Cause(name, text),), _departure(descent, factors))


def _kind(moved: np.ndarray, gradient: np.ndarray) -> str:
    """What the first step looks like, if it is no sum."""
    if np.ptp(np.percentile(moved, (10, 90))) < 0.05 * moved.max():
        return "the first step moves all values alike, as Adam and its relatives do: it is no gradient descent"
    if np.ptp(np.percentile(moved[gradient > np.percentile(gradient, 90)], (0, 100))) < 0.01 * moved.max():
        return "gradients are clipped"
    return "a step is no sum of gradients: it is no gradient descent"


def _of_some(key: str, text: str, names: Sequence[str], of: int) -> Finding:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Finding(STEP, 1.0, (Cause(key, f"{text} {names[0]}{more} of {of} parameters"),), 0.0)


def number(name: str, value: float | bool) -> str:
    """As it is told: a decay to three digits, more are rounding; what is nothing but rounding is 0."""
    if isinstance(value, bool):
        return str(value)
    return f"{value:.{3 if name == 'weight_decay' else 4}g}" if abs(value) > 1e-7 else "0"
