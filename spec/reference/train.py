"""Training steps: stochastic gradient descent that means the same in every backend."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from spec.parameters import Weights, is_buffer
from spec.reference.interop import Reference, training_pass, weights_of
from spec.threads import one_at_a_time
from spec.training import check_frozen, check_sgd, check_velocities


@dataclass
class SGD:
    """The settings of gradient descent, and the velocity of every parameter."""

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    velocities: Weights = field(default_factory=dict)


def sgd(
    model: Reference, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> SGD:
    """Gradient descent on all parameters of `model`. Raises SpecError for settings out of range."""
    check_sgd(learning_rate, momentum, nesterov, weight_decay)
    velocities = {name: np.zeros_like(array) for name, array in weights_of(model).items() if not is_buffer(name)}
    # Plain floats: a float64 of NumPy would turn a float32 model into float64.
    return SGD(float(learning_rate), float(momentum), nesterov, float(weight_decay), velocities)


def set_learning_rate(optimizer: SGD, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    optimizer.learning_rate = float(learning_rate)


@one_at_a_time
def step(
    model: Reference,
    optimizer: SGD,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> tuple[float, np.ndarray]:
    """One training step: updates parameters and running statistics; see spec.training.

    Takes (N, C, H, W) floats and integers (N,), returns the mean loss before the update and the logits
    (N, num_classes). With `frozen_statistics` batch norms normalize with their running statistics, which stay.
    Raises SpecError for a batch that does not fit. Dropout is left out.
    """
    loss, run = training_pass(model, images, labels, label_smoothing, frozen_statistics)
    weights = weights_of(model)
    for name in (name for name in optimizer.velocities if name not in model.frozen):
        weight = weights[name]
        gradient = run.gradients[name] + optimizer.weight_decay * weight
        velocity = optimizer.velocities[name] = optimizer.momentum * optimizer.velocities[name] + gradient
        gradient = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        weights[name] = weight - optimizer.learning_rate * gradient
    weights.update(run.statistics)
    return loss, run.outputs[""]


@one_at_a_time
def freeze(model: Reference, names: Collection[str]) -> None:
    """From now on steps leave just these parameters as they are. Raises SpecError for a name that is none."""
    check_frozen(names, (name for name in weights_of(model) if not is_buffer(name)))
    model.frozen = frozenset(names)


@one_at_a_time
def export_velocities(model: Reference, optimizer: SGD) -> Weights:
    """{canonical name: array} of the velocity of every parameter; empty without momentum."""
    return {name: array.copy() for name, array in optimizer.velocities.items()} if optimizer.momentum else {}


@one_at_a_time
def load_velocities(model: Reference, optimizer: SGD, velocities: Weights) -> None:
    """Takes over what export_velocities gave; raises SpecError, and changes nothing, unless all fit."""
    expected = optimizer.velocities if optimizer.momentum else {}
    check_velocities(velocities, {name: array.shape for name, array in expected.items()}, model.dtype)
    optimizer.velocities |= {name: array.copy() for name, array in velocities.items()}


def seed_dropout(model: Reference, seed: int) -> None:
    """Nothing: the reference leaves dropout out."""
