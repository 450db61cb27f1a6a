"""The derivatives of a training-mode pass, which Keras leaves to the framework that it runs on.

Each framework is imported where it is used, so that only the one that Keras runs on is loaded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

import spec
from densenet_keras.compat import float64_kept

Tensors = Sequence[Any]
Function = Callable[..., tuple[Any, Tensors]]  # (tensors, more arguments) -> a number, and what else was computed
WithGradients = Callable[..., tuple[tuple[Any, Tensors], Tensors]]  # the same, and the number's gradients by tensors


@float64_kept()
def training_pass(model: keras.Model, x: np.ndarray, labels: np.ndarray) -> tuple[float, Tensors, Any, Tensors]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,), and all its gradients.

    `x` is a batch in the model's layout and dtype. Returns the loss, the gradients of model.trainable_variables,
    that of `x`, and the values that the pass gives to model.non_trainable_variables. Assigns none of them.
    Raises SpecError where Keras runs on a framework that has no entry in DIFFERENTIATE.
    """
    tensors = [*(variable.value for variable in model.trainable_variables), keras.ops.convert_to_tensor(x)]
    others = [variable.value for variable in model.non_trainable_variables]
    (loss, updated), (*gradients, of_x) = _differentiated(model)(tensors, others, labels.astype("int32"))
    return float(loss), gradients, of_x, updated


def _loss(model: keras.Model, tensors: Tensors, others: Tensors, labels: np.ndarray) -> tuple[Any, Tensors]:
    """The loss where the trainable variables and the batch are `tensors`, and what the other variables become."""
    *trainable, x = tensors
    logits, updated = model.stateless_call(trainable, others, x, training=True)
    return cross_entropy(logits, labels), updated


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Any:
    """The mean loss of logits (N, num_classes) with labels (N,)."""
    if not label_smoothing:
        return keras.ops.mean(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    expected = keras.ops.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    loss = keras.losses.categorical_crossentropy(expected, logits, from_logits=True, label_smoothing=label_smoothing)
    return keras.ops.mean(loss)


def framework() -> str:
    """What Keras runs on; raises SpecError where it computes no gradients there."""
    name = keras.backend.backend()
    if name not in DIFFERENTIATE:
        raise spec.SpecError(
            f"gradients need Keras on TensorFlow, PyTorch or JAX, found {name}: "
            f"set KERAS_BACKEND to one of {', '.join(DIFFERENTIATE)}"
        )
    return name


def _differentiated(model: keras.Model) -> WithGradients:
    """The model's loss with gradients; made once for each choice of trainable variables, as JAX compiles it."""
    name = framework()
    made = vars(model).setdefault("_differentiated", {})
    trainable = tuple(variable.trainable for variable in model.variables)
    if trainable not in made:
        made[trainable] = DIFFERENTIATE[name](partial(_loss, model))
    return made[trainable]


def with_tensorflow(function: Function) -> WithGradients:
    """`function` with its gradients by the first argument, a list of tensors."""
    import tensorflow as tf

    def with_gradients(tensors, *arguments):
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            value, others = function(tensors, *arguments)
        return (value, others), tape.gradient(value, tensors)

    return with_gradients


def with_torch(function: Function) -> WithGradients:
    """`function` with its gradients by the first argument, a list of tensors."""
    import torch

    def with_gradients(tensors, *arguments):
        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        value, others = function(tensors, *arguments)
        return (value.detach(), others), torch.autograd.grad(value, tensors)

    return with_gradients


def with_jax(function: Function) -> WithGradients:
    """`function` with its gradients by the first argument, a list of tensors."""
    import jax

    return jax.jit(jax.value_and_grad(function, has_aux=True))


DIFFERENTIATE = {"tensorflow": with_tensorflow, "torch": with_torch, "jax": with_jax}


@dataclass(frozen=True)
class Tape:
    """Remembers what is computed while it runs, to differentiate it.

    `place` says where a tensor is on it, None where that cannot be told. `gradients` has those of a number by what
    stood at places, None for each at which none arrives; it is called once, while the tape runs.
    """

    place: Callable[[Any], Any]
    gradients: Callable[[Any, Sequence[Any]], Sequence[Any]]


def taped(x: Any, values: Tensors) -> AbstractContextManager[Tape]:
    """A tape of what becomes of a batch and of the values of variables, while layers run eagerly.

    Raises SpecError where Keras runs on a framework that has no entry in TAPES.
    """
    name = keras.backend.backend()
    if name not in TAPES:
        raise spec.SpecError(
            f"gradients by layers need Keras on TensorFlow or PyTorch, found {name}: "
            f"set KERAS_BACKEND to one of {', '.join(TAPES)}"
        )
    return TAPES[name](x, values)


@contextmanager
def taped_by_tensorflow(x: Any, values: Tensors) -> Iterator[Tape]:
    """Nothing but these is watched: what is not trainable takes no part."""
    import tensorflow as tf
    from tensorflow.python.eager.record import could_possibly_record  # False in what tf.recompute_grad runs again later

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([x, *values])
        yield Tape(lambda tensor: tensor if could_possibly_record() else None, tape.gradient)


@contextmanager
def taped_by_torch(x: Any, values: Tensors) -> Iterator[Tape]:
    """PyTorch's values know themselves whether they are trainable."""
    import torch
    from torch.autograd.graph import get_gradient_edge

    def place(tensor):
        edge = get_gradient_edge(tensor) if tensor.requires_grad else ()  # of now: a tensor may be written to later
        return edge if torch.is_grad_enabled() else None

    def gradients(number, places):
        reached = [i for i, edge in enumerate(places) if edge and number.requires_grad]
        edges = [places[i] for i in reached]
        found = torch.autograd.grad(number, edges, allow_unused=True) if edges else ()
        by_place = dict(zip(reached, found))
        return [by_place.get(i) for i in range(len(places))]

    x.requires_grad_()
    with torch.enable_grad():
        yield Tape(place, gradients)


TAPES = {"tensorflow": taped_by_tensorflow, "torch": taped_by_torch}


def untaped() -> AbstractContextManager[Any]:
    """Without PyTorch's tape, which runs unless told not to: as Keras' own loop calls optimizers."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return nullcontext()
