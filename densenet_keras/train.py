"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

import spec
from densenet_keras import graph
from densenet_keras.compat import seed_framework
from densenet_keras.interop import (
    canonical,
    canonical_shape,
    dtype_of,
    native,
    network_of,
    to_input,
    variables_of,
)
from spec.threads import one_at_a_time
from spec.training import check_frozen, check_sgd, check_step, check_velocities


def sgd(
    model: keras.Model, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> keras.optimizers.Optimizer:
    """Gradient descent on all parameters of `model`. Raises SpecError for settings out of range.

    Keras holds the learning rate in its floatx, float32 unless set otherwise, in a float64 model too.
    """
    check_sgd(learning_rate, momentum, nesterov, weight_decay)
    optimizer = CoupledSGD(float(learning_rate), float(momentum), nesterov, float(weight_decay))
    trained = {id(variable): variable for variable in (*model.trainable_variables, *_trained(model).values())}
    optimizer.build(list(trained.values()))  # of those that are frozen now, too
    return optimizer


def set_learning_rate(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    optimizer.learning_rate = learning_rate


@one_at_a_time
def step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> tuple[float, np.ndarray]:
    """One training step: updates parameters and running statistics; see spec.training.

    Takes (N, C, H, W) floats and integers (N,), returns the mean loss before the update and the logits
    (N, num_classes). With `frozen_statistics` batch norms normalize with their running statistics, which stay.
    Raises SpecError for a batch that does not fit. Needs Keras on TensorFlow, PyTorch or JAX.
    """
    check_step(network_of(model), images, labels, label_smoothing)
    return graph.step(model, optimizer, to_input(model, images), labels, label_smoothing, frozen_statistics)


@one_at_a_time
def freeze(model: keras.Model, names: Collection[str]) -> None:
    """From now on steps leave just these parameters as they are. Raises SpecError for a name that is none."""
    trained = _trained(model)
    check_frozen(names, trained)
    for name, variable in trained.items():
        variable.trainable = name not in names


@one_at_a_time
def export_velocities(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> spec.Weights:
    """{canonical name: array} of the velocity of every parameter; empty without momentum."""
    return {name: canonical(velocity) for name, velocity in _velocities(model, optimizer).items()}


@one_at_a_time
def load_velocities(model: keras.Model, optimizer: keras.optimizers.Optimizer, velocities: spec.Weights) -> None:
    """Takes over what export_velocities gave; raises SpecError, and changes nothing, unless all fit."""
    own = _velocities(model, optimizer)
    check_velocities(velocities, {name: canonical_shape(each) for name, each in own.items()}, dtype_of(model))
    for name, velocity in own.items():
        velocity.assign(native(velocities[name]))


def seed_dropout(model: keras.Model, seed: int) -> None:
    """Makes what dropout draws next a function of `seed`, each layer's by itself."""
    seed_framework(seed)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    for i, layer in enumerate(layers):
        layer.seed_generator.state.assign(np.random.SeedSequence([seed, i]).generate_state(2))


def _trained(model: keras.Model) -> dict[str, keras.Variable]:
    """The parameters, frozen ones included, without the running statistics."""
    return {name: variable for name, variable in variables_of(model).items() if not spec.is_buffer(name)}


def _velocities(model: keras.Model, optimizer: Any) -> dict[str, keras.Variable]:
    if not optimizer.momentum:
        return {}
    return {
        name: optimizer.momentums[optimizer._get_variable_index(variable)] for name, variable in _trained(model).items()
    }


@keras.saving.register_keras_serializable(package="densenet_keras")
class CoupledSGD(keras.optimizers.SGD):
    """Gradient descent as spec.training has it.

    Keras' own SGD keeps the learning rate inside the velocity, and its `weight_decay` bypasses the momentum.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, coupled_weight_decay=0.0, **kwargs):
        super().__init__(learning_rate, momentum, nesterov, **kwargs)
        self.coupled_weight_decay = coupled_weight_decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one parameter, and its velocity."""

        def exact(number: Any) -> Any:  # on PyTorch Keras makes float32 of Python's floats
            return keras.ops.convert_to_tensor(number, variable.dtype)

        gradient = gradient + exact(self.coupled_weight_decay) * variable
        if self.momentum:
            velocity, momentum = self.momentums[self._get_variable_index(variable)], exact(self.momentum)
            self.assign(velocity, momentum * velocity + gradient)
            gradient = gradient + momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * gradient)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same optimizer."""
        return super().get_config() | {"coupled_weight_decay": self.coupled_weight_decay}
