"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

from collections.abc import Collection

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import Trainer

import spec
from densenet_mxnet import graph
from densenet_mxnet.arrays import holds_np, in_kind, kind, legacy_arrays
from densenet_mxnet.interop import cross_entropy, dtype_of, mode, place_of, to_input, trained, with_values
from densenet_mxnet.model import ConvNet
from spec.threads import one_at_a_time
from spec.training import check_frozen, check_sgd, check_step, check_velocities


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
def step(
    model: ConvNet,
    optimizer: Trainer,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> tuple[float, np.ndarray]:
    """One training step: updates parameters and running statistics; see spec.training.

    Takes (N, C, H, W) floats and integers (N,), returns the mean loss before the update and the logits
    (N, num_classes). With `frozen_statistics` batch norms normalize with their running statistics, which stay.
    Raises SpecError for a batch that does not fit.
    """
    check_step(model.network, images, labels, label_smoothing)
    x = to_input(model, images)
    with legacy_arrays():
        if any(parameter.grad_req == "null" for parameter in trained(model).values()):
            x.attach_grad()  # MXNet updates running statistics in the backward pass, which must come by
        with autograd.record(), mode(model, frozen_statistics=frozen_statistics):
            logits = graph.run(model, x)
            loss = cross_entropy(logits, labels, label_smoothing)
        loss.backward()
    with kind(holds_np(with_values(model))):
        optimizer.step(1)  # the loss is a mean already
    return loss.asscalar().item(), logits.asnumpy()


@one_at_a_time
def freeze(model: ConvNet, names: Collection[str]) -> None:
    """From now on steps leave just these parameters as they are. Raises SpecError for a name that is none."""
    parameters = trained(model)
    check_frozen(names, parameters)
    with kind(holds_np(parameters)):
        for name, parameter in parameters.items():
            parameter.grad_req = "null" if name in names else "write"


@one_at_a_time
def export_velocities(model: ConvNet, optimizer: Trainer) -> spec.Weights:
    """{canonical name: array} of the velocity of every parameter; empty without momentum."""
    states = optimizer._updaters[0].states
    return {
        name: (states[i] if i in states else mx.nd.zeros_like(in_kind(parameter.data(), numpy=False))).asnumpy()
        for name, i, parameter in _indexed(model, optimizer)
    }


@one_at_a_time
def load_velocities(model: ConvNet, optimizer: Trainer, velocities: spec.Weights) -> None:
    """Takes over what export_velocities gave; raises SpecError, and changes nothing, unless all fit."""
    indexed = _indexed(model, optimizer)
    check_velocities(velocities, {name: p.shape for name, _, p in indexed}, dtype_of(with_values(model)))
    updater = optimizer._updaters[0]
    for name, i, parameter in indexed:
        context = parameter.list_ctx()[0]
        updater.states[i] = mx.nd.array(velocities[name], context, velocities[name].dtype)
        updater.states_synced[i] = True


def seed_dropout(model: ConvNet, seed: int) -> None:
    """Makes what dropout draws next a function of `seed`: MXNet's generators are seeded, all of the context."""
    mx.random.seed(seed, place_of(with_values(model)))


def _indexed(model: ConvNet, optimizer: Trainer) -> list[tuple[str, int, mx.gluon.Parameter]]:
    """(canonical name, index in the optimizer, parameter) of all that have a velocity."""
    if not optimizer._optimizer.momentum:
        return []
    return [(name, optimizer._param2idx[parameter.name], parameter) for name, parameter in trained(model).items()]


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
        self.allow_np_array = True  # else it would take those of NumPy mode only if it was made in that

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
