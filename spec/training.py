"""Stochastic gradient descent: the one update that every backend's training step makes.

The loss of a batch is the mean over its images of -sum_k q_k log p_k, where p is the softmax of the logits and q
one at the label and zero elsewhere. With label smoothing s, q is (1 - s) of that and s / num_classes of each class
(Szegedy et al. 2016, section 7).

The update is torch.optim.SGD's, and all parameters get it, with `gradient` that of this loss:

    gradient += weight_decay * weight               # coupled: the decay goes through the momentum
    velocity = momentum * velocity + gradient       # zero at first; free of the learning rate
    gradient = gradient + momentum * velocity if nesterov else velocity
    weight -= learning_rate * gradient

MXNet and Keras keep the learning rate inside the velocity, so that a change of rate acts late, and Keras'
own weight decay bypasses the momentum; their backends make the update above instead.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf
from numbers import Real

import numpy as np

from spec.errors import SpecError, nearest
from spec.network import Network
from spec.shapes import Shapes
from spec.weights import check_weights


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


def check_step(network: Network, images: np.ndarray, labels: np.ndarray, label_smoothing: float) -> None:
    """Raises SpecError unless the network can make a training step with these."""
    network.check_batch(images, labels)
    if not _number(label_smoothing) or not 0 <= label_smoothing < 1:
        raise SpecError(f"label_smoothing must be a number from 0 to less than 1, found {label_smoothing!r}")


def check_frozen(names: Collection[str], parameters: Iterable[str]) -> None:
    """Raises SpecError unless all `names` are parameters that can be trained."""
    known = list(parameters)
    for name in names:
        if name not in known:
            raise SpecError(f"{name!r} is no parameter that could be frozen: {nearest(name, known)}")


def check_velocities(velocities: Mapping[str, np.ndarray], shapes: Shapes, dtype: str) -> None:
    """Raises SpecError unless there is one velocity for each parameter, of its shape and dtype, with finite values."""
    try:
        check_weights(velocities, shapes, dtype)
    except SpecError as error:
        raise SpecError(f"velocities: {error}") from None


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # to Python True is a 1
