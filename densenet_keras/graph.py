"""A model's training step, compiled once per shape by the framework that Keras runs on, as Keras does with inference.

Each framework is imported where it is used, so that only the one that Keras runs on is loaded.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np

from densenet_keras.compat import float64_kept
from densenet_keras.gradients import cross_entropy, framework

Loss = Callable[[Any, Any], tuple[Any, Any]]  # (x, labels) -> the loss and the logits
Step = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]  # the same, after which all variables have moved
Variables = Sequence[keras.Variable]


@float64_kept()
def step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    x: np.ndarray,
    labels: np.ndarray,
    label_smoothing: float,
    frozen_statistics: bool,
) -> tuple[float, np.ndarray]:
    """One training step with a batch in the model's layout and dtype: the loss before it, and the logits."""
    trained = tuple(model.trainable_variables)
    made = vars(optimizer).setdefault("_steps", {})
    key = (label_smoothing, frozen_statistics, *map(id, trained))
    if key not in made:
        if not optimizer.built:  # one of Keras' own, whose variables must be there before a graph is made
            optimizer.build(trained)
        loss = partial(_loss, model, label_smoothing, frozen_statistics)
        made[key] = STEPS[framework()](loss, model, trained, optimizer)
    loss, logits = made[key](x, labels.astype("int32"))
    return float(keras.ops.convert_to_numpy(loss)), np.array(keras.ops.convert_to_numpy(logits))


def _loss(model: keras.Model, label_smoothing: float, frozen_statistics: bool, x: Any, labels: Any) -> tuple[Any, Any]:
    with _frozen_norms(model) if frozen_statistics else nullcontext():
        logits = model(x, training=True)
    return cross_entropy(logits, labels, label_smoothing), logits


@contextmanager
def _frozen_norms(model: keras.Model) -> Iterator[None]:
    """Batch norms use their running statistics in training, too, as Keras has it for those that are not trainable."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.trainable for layer in norms]
    try:
        for layer in norms:
            layer._trainable = False  # not by its setter, which would freeze scale and shift as well
        yield
    finally:
        for layer, trainable in zip(norms, before):
            layer._trainable = trainable


def with_tensorflow(loss_of: Loss, model: keras.Model, trained: Variables, optimizer: Any) -> Step:
    """As one graph for each shape."""
    import tensorflow as tf

    def step(x, labels):
        values = [variable.value for variable in trained]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, logits = loss_of(x, labels)
        optimizer.apply(tape.gradient(loss, values), trained)
        return loss, logits

    return tf.function(step)


def with_torch(loss_of: Loss, model: keras.Model, trained: Variables, optimizer: Any) -> Step:
    """Eagerly, as Keras itself runs PyTorch."""
    import torch

    def step(x, labels):
        loss, logits = loss_of(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(labels))
        gradients = torch.autograd.grad(loss, [variable.value for variable in trained])
        with torch.no_grad():
            optimizer.apply(gradients, trained)
        return loss, logits

    return step


def with_jax(loss_of: Loss, model: keras.Model, trained: Variables, optimizer: Any) -> Step:
    """Jitted: a function of all values, which are assigned afterwards."""
    import jax

    others = [variable for variable in model.variables if all(variable is not each for each in trained)]
    states = optimizer.variables

    def loss_of_values(values, of_others, x, labels):
        with keras.StatelessScope([*zip(trained, values), *zip(others, of_others)]) as scope:
            loss, logits = loss_of(x, labels)
        return loss, (logits, [scope.get_current_value(variable) for variable in others])

    @jax.jit
    def moved(values, of_others, of_states, x, labels):
        differentiated = jax.value_and_grad(loss_of_values, has_aux=True)
        (loss, (logits, of_others)), gradients = differentiated(values, of_others, x, labels)
        with keras.StatelessScope([*zip(trained, values), *zip(states, of_states)]) as scope:
            optimizer.apply(gradients, trained)
        after = [scope.get_current_value(variable) for variable in (*trained, *states)]
        return loss, logits, [*after, *of_others]

    def step(x, labels):
        before = ([variable.value for variable in each] for each in (trained, others, states))
        loss, logits, after = moved(*before, x, labels)
        for variable, value in zip((*trained, *states, *others), after):
            variable.assign(value)
        return loss, logits

    return step


STEPS = {"tensorflow": with_tensorflow, "torch": with_torch, "jax": with_jax}
