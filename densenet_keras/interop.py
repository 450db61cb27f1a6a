"""NumPy in, NumPy out: weights, inference, every layer's output, and gradients."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import spec
from densenet_keras.compat import float64_kept
from densenet_keras.gradients import training_pass
from spec.threads import one_at_a_time

RUNNING_UPDATE = spec.RunningUpdate()
CANONICAL = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# What brings a kernel's axes into torch's order and back; every other variable has one axis.
TO_CANONICAL = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}  # HWIO -> OIHW, (in, out) -> (out, in)
FROM_CANONICAL = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}


@one_at_a_time
def load_weights(model: keras.Model, weights: spec.Weights) -> None:
    """Assigns {canonical name: array}; raises SpecError, and changes nothing, unless all fit."""
    variables = variables_of(model)
    shapes = {name: canonical_shape(variable) for name, variable in variables.items()}
    spec.check_weights(weights, shapes, dtype_of(model))
    for name, variable in variables.items():
        variable.assign(native(weights[name]))


@one_at_a_time
def export_weights(model: keras.Model) -> spec.Weights:
    """{canonical name: array} of every parameter and buffer."""
    return {name: canonical(variable) for name, variable in variables_of(model).items()}


@one_at_a_time
@float64_kept()
def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Inference: (N, C, H, W) floats -> (N, num_classes). Raises SpecError for images that do not fit.

    Without the top: the last feature map (N, C, H', W'), or what `pooling` made of it (N, C).
    """
    return _nchw(model, array_of(model.predict_on_batch(to_input(model, images))))  # compiled once for each shape


@one_at_a_time
@float64_kept()
def trace(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """{layer name: output} of every named layer in inference, in order; maps are (N, C, H, W)."""
    symbols: dict[str, Any] = {}
    own = {layer.name for layer in model.layers}
    for path, node in spec.walk(network_of(model).root):
        # A container has no layer of its own: what its last child puts out is its output.
        last = path if path in own else spec.join(path, spec.children(node)[-1][0])
        symbols[path] = model.get_layer(path).output if path in own else symbols[last]
    outputs = keras.Model(model.inputs[0], symbols)(to_input(model, images), training=False)
    return {path: _nchw(model, array_of(outputs.pop(path))) for path in symbols}  # which are gigabytes together


@one_at_a_time
def loss_and_gradients(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> tuple[float, spec.Weights, spec.Weights]:
    """One training-mode pass with the mean cross-entropy of `labels`, integers (N,).

    Returns the loss, {name: gradient} of every parameter that is not frozen and of the "input", and
    {name: array} of the running statistics as the pass would leave them. The model itself is unchanged.
    Needs Keras on TensorFlow, PyTorch or JAX.
    """
    network_of(model).check_batch(images, labels)
    loss, gradients, of_x, updated = training_pass(model, to_input(model, images), labels)
    values = dict(zip(map(id, model.trainable_variables + model.non_trainable_variables), [*gradients, *updated]))
    variables = variables_of(model)
    of_parameters = {name: canonical(values[id(v)]) for name, v in variables.items() if v.trainable}
    statistics = {name: canonical(values[id(v)]) for name, v in variables.items() if spec.is_buffer(name)}
    return loss, of_parameters | {"input": _nchw(model, array_of(of_x))}, statistics


def to_input(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) in the model's dtype and layout; raises SpecError for ones that do not fit."""
    network_of(model).check_images(images)
    images = images.astype(dtype_of(model))
    return images.transpose(0, 2, 3, 1) if _channels_last(model) else images


def network_of(model: keras.Model) -> spec.Network:
    """What `model` was built from; raises SpecError where it does not say."""
    network = getattr(model, "network", None)
    if network is not None:
        return network
    inside = [layer.name for layer in model.layers if getattr(layer, "network", None) is not None]
    if inside:
        raise spec.SpecError(
            f"{model.name} is not built from a network, its layer {inside[0]} is: give "
            f"{model.name}.get_layer({inside[0]!r}), or use what Keras has for all models, fit and predict"
        )
    raise spec.SpecError(
        f"{model.name} does not say which network it is: set its attribute `network` to that of the model it was "
        "made of, or to what spec.variant or spec.load returned"
    )


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables under their canonical names; in the spec's order, which Keras knows only in a chain of layers.

    Those of a model inside have its name before: densenet121.features.conv0.weight. Raises SpecError unless all
    have names, each its own.
    """
    if not model.built:
        raise spec.SpecError(f"{model.name} has no variables yet: call it on a batch, or its build, first")
    variables = {
        f"{name}.{CANONICAL[variable.name]}": variable
        for name, layer in _layers(model)
        if not isinstance(layer, keras.layers.DepthwiseConv2D)  # whose kernel's axes mean something else
        for variable in layer.variables
        if variable.name in CANONICAL and len(variable.shape) in TO_CANONICAL
    }
    named = set(map(id, variables.values()))
    for variable in model.weights:
        if id(variable) not in named:
            raise spec.SpecError(
                f"{model.name} has a variable {variable.path} of shape {tuple(variable.shape)}, for which there is no "
                "canonical name: give the model inside that is built from a network, or use Keras' own get_weights"
            )
    network = getattr(model, "network", None)
    order = {name: i for i, name in enumerate(spec.parameter_shapes(network) if network else variables)}
    return {name: variables[name] for name in sorted(variables, key=lambda name: order.get(name, len(order)))}


def canonical(kernel: Any) -> np.ndarray:
    """The values of a variable in the spec's layout."""
    array = array_of(kernel)
    return array.transpose(TO_CANONICAL[array.ndim]).copy()


def native(array: np.ndarray) -> np.ndarray:
    """The values of a parameter in the layout of Keras' variable."""
    return array.transpose(FROM_CANONICAL[array.ndim])


def canonical_shape(variable: keras.Variable) -> tuple[int, ...]:
    """The shape that those have."""
    return tuple(variable.shape[axis] for axis in TO_CANONICAL[len(variable.shape)])


def dtype_of(model: keras.Model) -> str:
    """The dtype of the variables; raises SpecError where Keras says float64 and JAX made float32 of it."""
    variable = next(each for _, layer in _layers(model) for each in layer.variables if each.name in CANONICAL)
    held = keras.backend.standardize_dtype(variable.value.dtype)
    if held != variable.dtype:
        raise spec.SpecError(
            f"{model.name} is {held}, not {variable.dtype}: JAX has float64 only with JAX_ENABLE_X64=1 in the "
            'environment, or jax.config.update("jax_enable_x64", True) before the model is built'
        )
    return held


def _layers(model: keras.Model, name: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """The layers with their dotted names, those of models inside it in their place."""
    for layer in model.layers:
        path = spec.join(name, layer.name)
        if isinstance(layer, keras.Model):
            yield from _layers(layer, path)
        else:
            yield path, layer


def _channels_last(model: keras.Model) -> bool:
    formats = (getattr(layer, "data_format", None) for _, layer in _layers(model))
    return next(found for found in formats if found) == "channels_last"


def _nchw(model: keras.Model, array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 and _channels_last(model) else array


def array_of(tensor: Any) -> np.ndarray:
    """The tensor's values, copied."""
    return np.array(keras.ops.convert_to_numpy(tensor))
