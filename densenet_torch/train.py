"""Training steps, NumPy in: stochastic gradient descent that means the same in every backend."""

from collections.abc import Collection

import numpy as np
import torch
from torch import nn

import spec
from densenet_torch.interop import array_of, cross_entropy, dtype_of, mode, network_of, to_input
from densenet_torch.model import ConvNet
from spec.threads import one_at_a_time
from spec.training import check_frozen, check_sgd, check_step, check_velocities


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
def step(
    model: ConvNet,
    optimizer: torch.optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> tuple[float, np.ndarray]:
    """One training step: updates parameters and running statistics; see spec.training.

    Takes (N, C, H, W) floats and integers (N,), returns the mean loss before the update and the logits
    (N, num_classes). With `frozen_statistics` batch norms normalize with their running statistics, which stay.
    Raises SpecError for a batch that does not fit. Afterwards every module is in the mode that it was in.
    """
    check_step(network_of(model), images, labels, label_smoothing)
    x = to_input(model, images)
    optimizer.zero_grad()
    with mode(model, training=True, frozen_statistics=frozen_statistics):
        logits = model(x)
        loss = cross_entropy(logits, labels, label_smoothing)
        loss.backward()  # in this mode, too: checkpointed layers are computed again
    optimizer.step()
    return loss.item(), array_of(logits)


@one_at_a_time
def freeze(model: nn.Module, names: Collection[str]) -> None:
    """From now on steps leave just these parameters as they are. Raises SpecError for a name that is none."""
    parameters = dict(model.named_parameters())
    check_frozen(names, parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name not in names)


@one_at_a_time
def export_velocities(model: nn.Module, optimizer: torch.optim.Optimizer) -> spec.Weights:
    """{canonical name: array} of the velocity of every parameter; empty without momentum."""
    if not optimizer.defaults["momentum"]:
        return {}
    velocities = {name: optimizer.state[p].get("momentum_buffer") for name, p in model.named_parameters()}
    return {
        name: array_of(parameter.new_zeros(parameter.shape) if velocities[name] is None else velocities[name])
        for name, parameter in model.named_parameters()
    }


@one_at_a_time
def load_velocities(model: nn.Module, optimizer: torch.optim.Optimizer, velocities: spec.Weights) -> None:
    """Takes over what export_velocities gave; raises SpecError, and changes nothing, unless all fit."""
    parameters = dict(model.named_parameters()) if optimizer.defaults["momentum"] else {}
    check_velocities(velocities, {name: tuple(p.shape) for name, p in parameters.items()}, dtype_of(model))
    for name, parameter in parameters.items():
        optimizer.state[parameter]["momentum_buffer"] = torch.from_numpy(velocities[name].copy()).to(parameter.device)


def seed_dropout(model: nn.Module, seed: int) -> None:
    """Makes what dropout draws next a function of `seed`: PyTorch's generators are seeded, all of the process."""
    torch.manual_seed(seed)
