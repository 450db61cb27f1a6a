"""NumPy in, NumPy out: weights, inference, every layer's output, and gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from spec.devices import device_of
from spec.errors import SpecError
from spec.network import Network
from spec.parameters import Weights, is_buffer, parameter_shapes
from spec.reference.backward import backward
from spec.reference.forward import Pass, forward
from spec.running import RunningUpdate
from spec.threads import one_at_a_time
from spec.training import check_step
from spec.weights import check_weights

RUNNING_UPDATE = RunningUpdate()
EXECUTORS: dict[str, Callable[[Any, np.ndarray], np.ndarray]] = {}


@dataclass(eq=False)
class Reference:
    """A network with its weights, all of one dtype; None until they are loaded. Steps leave the `frozen` alone."""

    network: Network
    dtype: str
    weights: Weights | None = None
    frozen: frozenset[str] = frozenset()


@contextmanager
def device(name: str) -> Iterator[None]:
    """The reference computes on "cpu"; raises SpecError for another."""
    if device_of(name) != ("cpu", 0):
        raise SpecError(f"device {name!r} is not there: the reference computes on the cpu; use cpu")
    yield


def build(network: Network, dtype: str = "float64") -> Reference:
    """The network, without weights yet, computing in `dtype` ("float64" or "float32")."""
    if not isinstance(network, Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    return Reference(network, dtype)


@one_at_a_time
def load_weights(model: Reference, weights: Weights) -> None:
    """Takes over {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    check_weights(weights, parameter_shapes(model.network), model.dtype)
    model.weights = {name: array.copy() for name, array in weights.items()}


@one_at_a_time
def export_weights(model: Reference) -> Weights:
    """{canonical name: array} of every parameter and buffer."""
    return {name: array.copy() for name, array in weights_of(model).items()}


@one_at_a_time
def predict(model: Reference, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit."""
    model.network.check_images(images)
    return forward(model.network.root, images.astype(model.dtype), Pass(weights_of(model)))


@one_at_a_time
def trace(model: Reference, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    model.network.check_images(images)
    run = Pass(weights_of(model), record=True)
    forward(model.network.root, images.astype(model.dtype), run)
    del run.outputs[""]  # the root's, which has no name
    return run.outputs


@one_at_a_time
def loss_and_gradients(model: Reference, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights, Weights]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,); dropout is left out.

    Returns the loss, {name: gradient} of every parameter that is not frozen and of the "input", and
    {name: array} of the running statistics as the pass would leave them. The model itself is unchanged.
    """
    loss, run = training_pass(model, images, labels)
    gradients = {name: gradient for name, gradient in run.gradients.items() if name not in model.frozen}
    return loss, gradients, run.statistics


def training_pass(
    model: Reference,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> tuple[float, Pass]:
    """The loss, see spec.training, and all that a forward and a backward pass found."""
    check_step(model.network, images, labels, label_smoothing)
    run = Pass(weights_of(model), training=True, frozen_statistics=frozen_statistics, record=True)
    logits = forward(model.network.root, images.astype(model.dtype), run)
    loss, of_logits = _cross_entropy(logits, labels, label_smoothing)
    of_input = backward(model.network.root, "", of_logits, run)
    run.gradients = {name: run.gradients[name] for name in run.weights if not is_buffer(name)} | {"input": of_input}
    return loss, run


def weights_of(model: Reference) -> Weights:
    """The model's own weights; raises SpecError where it has none yet."""
    if model.weights is None:
        raise SpecError(f"{model.network.name} has no values yet: call load_weights first")
    return model.weights


def training_loss(
    model: Reference,
    images: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float = 0.0,
    frozen_statistics: bool = False,
) -> float:
    """The loss of a training pass alone."""
    check_step(model.network, images, labels, label_smoothing)
    run = Pass(weights_of(model), training=True, frozen_statistics=frozen_statistics)
    return _cross_entropy(forward(model.network.root, images.astype(model.dtype), run), labels, label_smoothing)[0]


def _cross_entropy(logits: np.ndarray, labels: np.ndarray, label_smoothing: float) -> tuple[float, np.ndarray]:
    """The mean cross-entropy, and its gradient by the logits (N, num_classes)."""
    classes = logits.shape[1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    picked = np.eye(classes, dtype=logits.dtype)[labels]
    expected = (1 - label_smoothing) * picked + label_smoothing / classes
    loss = -(log_probabilities * expected).sum(axis=1).mean()
    return float(loss), (np.exp(log_probabilities) - expected) / len(labels)
