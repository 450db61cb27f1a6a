"""Stochastic gradient descent: the one update that every backend's training step makes, and its NumPy form.

The update is torch.optim.SGD's, and all parameters get it, with `gradient` that of the mean cross-entropy:

    gradient += weight_decay * weight               # coupled: the decay goes through the momentum
    velocity = momentum * velocity + gradient       # zero at first; free of the learning rate
    gradient = gradient + momentum * velocity if nesterov else velocity
    weight -= learning_rate * gradient

MXNet and Keras keep the learning rate inside the velocity, so that a change of rate acts late, and Keras'
own weight decay bypasses the momentum; their backends make the update above instead.
"""

from dataclasses import dataclass, field
from math import inf
from numbers import Real

import numpy as np

from spec.errors import SpecError
from spec.parameters import Weights, is_buffer, shapes
from spec.reference import Reference, loss_and_gradients


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
    trained = {name: shape for name, shape in shapes(model.network).items() if not is_buffer(name)}
    velocities = {name: np.zeros(shape, model.dtype) for name, shape in trained.items()}
    # Plain floats: a float64 of NumPy would turn a float32 model into float64.
    return SGD(float(learning_rate), float(momentum), nesterov, float(weight_decay), velocities)


def set_learning_rate(optimizer: SGD, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    optimizer.learning_rate = float(learning_rate)


def step(model: Reference, optimizer: SGD, images: np.ndarray, labels: np.ndarray) -> float:
    """One training step: updates parameters and running statistics, returns the mean loss before it.

    Takes (N, C, H, W) floats and integers (N,); raises SpecError for a batch that does not fit.
    Dropout is left out.
    """
    loss, gradients, statistics = loss_and_gradients(model, images, labels)
    for name, velocity in optimizer.velocities.items():
        weight = model.weights[name]
        gradient = gradients[name] + optimizer.weight_decay * weight
        velocity = optimizer.velocities[name] = optimizer.momentum * velocity + gradient
        gradient = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        model.weights[name] = weight - optimizer.learning_rate * gradient
    model.weights.update(statistics)
    return loss


def check_sgd(learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
    """Raises SpecError unless these are settings of gradient descent."""
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < inf:
        raise SpecError(f"learning_rate must be a number above 0, found {learning_rate!r}")
    if not isinstance(momentum, Real) or not 0 <= momentum < 1:
        raise SpecError(f"momentum must be a number from 0 to less than 1, found {momentum!r}")
    if not isinstance(weight_decay, Real) or not 0 <= weight_decay < inf:
        raise SpecError(f"weight_decay must be a number not below 0, found {weight_decay!r}")
    if nesterov and not momentum:
        raise SpecError(f"nesterov needs a momentum above 0, found momentum {momentum!r}")
