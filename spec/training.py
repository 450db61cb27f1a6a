"""Stochastic gradient descent: the one update that every backend's training step makes.

The update is torch.optim.SGD's, and all parameters get it, with `gradient` that of the mean cross-entropy:

    gradient += weight_decay * weight               # coupled: the decay goes through the momentum
    velocity = momentum * velocity + gradient       # zero at first; free of the learning rate
    gradient = gradient + momentum * velocity if nesterov else velocity
    weight -= learning_rate * gradient

MXNet and Keras keep the learning rate inside the velocity, so that a change of rate acts late, and Keras'
own weight decay bypasses the momentum; their backends make the update above instead.
"""

from math import inf
from numbers import Real

from spec.errors import SpecError


def check_sgd(learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
    """Raises SpecError unless these are settings of gradient descent."""
    if not _number(learning_rate) or not 0 < learning_rate < inf:
        raise SpecError(f"learning_rate must be a number above 0, found {learning_rate!r}")
    if not _number(momentum) or not 0 <= momentum < 1:
        raise SpecError(f"momentum must be a number from 0 to less than 1, found {momentum!r}")
    if not _number(weight_decay) or not 0 <= weight_decay < inf:
        raise SpecError(f"weight_decay must be a number not below 0, found {weight_decay!r}")
    if not isinstance(nesterov, bool):
        raise SpecError(f"nesterov must be True or False, found {nesterov!r}")
    if nesterov and not momentum:
        raise SpecError(f"nesterov needs a momentum above 0, found momentum {momentum!r}")


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # to Python True is a 1
