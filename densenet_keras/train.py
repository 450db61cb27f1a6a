"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

from typing import Any

import keras
import numpy as np

from densenet_keras.gradients import training_pass
from densenet_keras.interop import network_of, to_input
from spec.threads import one_at_a_time
from spec.training import check_sgd


def sgd(
    model: keras.Model, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> keras.optimizers.Optimizer:
    """Gradient descent on all parameters of `model`. Raises SpecError for settings out of range.

    Keras holds the learning rate in its floatx, float32 unless set otherwise, in a float64 model too.
    """
    check_sgd(learning_rate, momentum, nesterov, weight_decay)
    optimizer = CoupledSGD(float(learning_rate), float(momentum), nesterov, float(weight_decay))
    optimizer.build(model.trainable_variables)
    return optimizer


def set_learning_rate(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    optimizer.learning_rate = learning_rate


@one_at_a_time
def step(model: keras.Model, optimizer: keras.optimizers.Optimizer, images: np.ndarray, labels: np.ndarray) -> float:
    """One training step: updates parameters and running statistics, returns the mean loss before it.

    Takes (N, C, H, W) floats and integers (N,); raises SpecError for a batch that does not fit.
    Needs Keras on TensorFlow, PyTorch or JAX.
    """
    network_of(model).check_batch(images, labels)
    loss, gradients, _, updated = training_pass(model, to_input(model, images), labels)
    for variable, value in zip(model.non_trainable_variables, updated):
        variable.assign(value)
    optimizer.apply(gradients, model.trainable_variables)
    return loss


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
        gradient = gradient + self.coupled_weight_decay * variable
        if self.momentum:
            velocity = self.momentums[self._get_variable_index(variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            gradient = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * gradient)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same optimizer."""
        return super().get_config() | {"coupled_weight_decay": self.coupled_weight_decay}
