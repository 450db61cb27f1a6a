"""Training steps: stochastic gradient descent that means the same in every backend."""

from dataclasses import dataclass, field

import numpy as np

from spec.parameters import Weights, is_buffer
from spec.reference.interop import Reference, loss_and_gradients, weights_of
from spec.threads import one_at_a_time
from spec.training import check_sgd


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
def step(model: Reference, optimizer: SGD, images: np.ndarray, labels: np.ndarray) -> float:
    """One training step: updates parameters and running statistics, returns the mean loss before it.

    Takes (N, C, H, W) floats and integers (N,); raises SpecError for a batch that does not fit.
    Dropout is left out.
    """
    loss, gradients, statistics = loss_and_gradients(model, images, labels)
    weights = weights_of(model)
    for name, velocity in optimizer.velocities.items():
        weight = weights[name]
        gradient = gradients[name] + optimizer.weight_decay * weight
        velocity = optimizer.velocities[name] = optimizer.momentum * velocity + gradient
        gradient = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        weights[name] = weight - optimizer.learning_rate * gradient
    weights.update(statistics)
    return loss
