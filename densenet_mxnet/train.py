"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import Trainer

import spec
from densenet_mxnet.interop import cross_entropy, to_input, with_values
from densenet_mxnet.model import ConvNet, legacy_arrays
from spec.threads import one_at_a_time
from spec.training import check_sgd


def sgd(
    model: ConvNet, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> Trainer:
    """Gradient descent on all parameters of `model`, which are in one place.

    Raises SpecError for settings out of range, and for a model whose values several contexts have.
    """
    check_sgd(learning_rate, momentum, nesterov, weight_decay)
    _check_one_place(model)
    with legacy_arrays():
        # Without a store: one would get the optimizer as a pickle.
        return Trainer(
            model.collect_params(), CoupledSGD(learning_rate, momentum, nesterov, wd=weight_decay), kvstore=None
        )


def set_learning_rate(optimizer: Trainer, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    optimizer.set_learning_rate(learning_rate)


@one_at_a_time
def step(model: ConvNet, optimizer: Trainer, images: np.ndarray, labels: np.ndarray) -> float:
    """One training step: updates parameters and running statistics, returns the mean loss before it.

    Takes (N, C, H, W) floats and integers (N,); raises SpecError for a batch that does not fit.
    """
    model.network.check_batch(images, labels)
    x = to_input(model, images)
    with legacy_arrays():
        with autograd.record():
            loss = cross_entropy(model, x, labels)
        loss.backward()
        optimizer.step(1)  # the loss is a mean already
    return loss.asscalar().item()


def _check_one_place(model: ConvNet) -> None:
    """A step moves the values of one context, and others would keep the old ones."""
    contexts = next(iter(with_values(model).values())).list_ctx()
    if len(contexts) > 1:
        raise spec.SpecError(
            f"{model.network.name} is on {', '.join(map(str, contexts))}, a step trains on one context: build it "
            "with one, or train it with Gluon's Trainer and split_and_load"
        )


@mx.optimizer.register
class CoupledSGD(mx.optimizer.Optimizer):
    """Gradient descent as spec.training has it.

    MXNet's own "sgd" and "nag" keep the learning rate inside the velocity, and "nag" puts the decay of the
    weight as it is after the update there. Multipliers of a parameter, lr_mult and wd_mult, count as in those.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, wd=0.0, param_dict=None):
        super().__init__(learning_rate=learning_rate, wd=wd, param_dict=param_dict)
        self.momentum = momentum
        self.nesterov = nesterov

    def create_state(self, index: int, weight: mx.nd.NDArray) -> mx.nd.NDArray | None:
        """The velocity of one parameter."""
        return mx.nd.zeros_like(weight) if self.momentum else None

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: mx.nd.NDArray | None) -> None:
        """Moves one parameter, and its velocity."""
        self._update_count(index)
        grad = self.rescale_grad * grad + self._get_wd(index) * weight
        if state is not None:
            state[:] = self.momentum * state + grad
            grad = grad + self.momentum * state if self.nesterov else state
        weight[:] = weight - self._get_lr(index) * grad
