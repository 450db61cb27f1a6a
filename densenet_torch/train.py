"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

import numpy as np
import torch
from torch import nn

from densenet_torch.interop import cross_entropy, mode, to_input
from densenet_torch.model import ConvNet
from spec.threads import one_at_a_time
from spec.training import check_sgd


def sgd(
    model: nn.Module, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> torch.optim.SGD:
    """Gradient descent on all parameters of `model`. Raises SpecError for settings out of range."""
    check_sgd(learning_rate, momentum, nesterov, weight_decay)
    return torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """The rate from the next step on; velocities stay. Raises SpecError for one that is not above 0."""
    check_sgd(learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


@one_at_a_time
def step(model: ConvNet, optimizer: torch.optim.Optimizer, images: np.ndarray, labels: np.ndarray) -> float:
    """One training step: updates parameters and running statistics, returns the mean loss before it.

    Takes (N, C, H, W) floats and integers (N,); raises SpecError for a batch that does not fit.
    Afterwards every module is in the mode, training or inference, that it was in.
    """
    model.network.check_batch(images, labels)
    x = to_input(model, images)
    with mode(model, training=True):
        loss = cross_entropy(model, x, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
