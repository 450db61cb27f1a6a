"""Training steps: there are none, and whoever asks for one is told what trains."""

from collections.abc import Collection
from typing import Any, NoReturn

import numpy as np

import spec
from densenet_onnx.interop import refuse_training
from densenet_onnx.model import ConvNet


def sgd(
    model: ConvNet, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def set_learning_rate(optimizer: Any, learning_rate: float) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def step(
    model: ConvNet,
    optimizer: Any,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def freeze(model: ConvNet, names: Collection[str]) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def export_velocities(model: ConvNet, optimizer: Any) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def load_velocities(model: ConvNet, optimizer: Any, velocities: spec.Weights) -> NoReturn:
    """Raises SpecError."""
    refuse_training()


def seed_dropout(model: ConvNet, seed: int) -> None:
    """Nothing: a graph for inference has no dropout."""
