"""What any Keras model did in a forward pass, a stranger's too: its operations as Keras dispatches them.

With real tensors, functions of keras.ops compute and are gone; with symbolic ones each is an operation that is called.
So the pass is made with symbols that have values, and none can hide.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import keras
import numpy as np

import spec
from densenet_keras.compat import float64_kept
from densenet_keras.gradients import Tape, cross_entropy, taped, untaped
from densenet_keras.interop import CANONICAL, FROM_CANONICAL, TO_CANONICAL, array_of
from densenet_keras.operations import (
    ACTIVATIONS,
    LAYERS,
    OPERANDS,
    SPELLED_OUT,
    TO_FIRST,
    TO_LAST,
    Symbol,
    channels_last,
    described,
    keras_class,
    nchw,
    real,
    text_of,
    version,
)
from spec.recording import INPUT, PARAMETRIC, UNKNOWN, Call, Recording, Training
from spec.threads import one_at_a_time

Function = Callable[..., Any]


@one_at_a_time
@float64_kept()
def record(model: keras.Model, images: np.ndarray, training: bool = False) -> Recording:
    """A pass of images (N, C, H, W), in inference or training mode; the model is left as it was, though built.

    Raises SpecError for a model that returns no logits (N, classes), or that takes other images.
    """
    seen = _Seen(model, _input(model, images))
    with _kept_buffers(model), seen.scope:
        return _recorded(model, seen, training)[0]


@one_at_a_time
@float64_kept()
def record_training(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Training:
    """A pass in training mode with the mean cross-entropy of `labels`, integers (N,), and its backward pass.

    The model is left as it was, though built; penalties that its layers add to the loss are left out. Raises SpecError
    as `record` does, and where Keras runs on a framework that has no entry in TAPES.
    """
    x, trained = _input(model, images), _trained(model)
    values = [variable.value for variable in trained.values()]
    with taped(x, values) as tape:
        seen = _Seen(model, keras.ops.copy(x), tape)  # a copy may be written to
        with _kept_buffers(model), seen.scope:
            recording, logits = _recorded(model, seen, True)
            buffers = _buffers(model)  # before a backward pass in which norms may run, and update theirs, once more
            logits = keras.ops.log(logits) if recording.calls[recording.output].kind == "softmax" else logits
            gradients, of_values = seen.gradients(cross_entropy(logits, labels.astype("int32")), values)
    depthwise, arrived = _depthwise(model), {name: each for name, each in zip(trained, of_values) if each is not None}
    parameters = {name: _canonical(array_of(each), id(trained[name]) in depthwise) for name, each in arrived.items()}
    return Training(recording, labels, gradients, parameters, buffers)


@one_at_a_time
@float64_kept()
def descend(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Mapping[str, np.ndarray]],
    factor: float,
) -> list[dict[str, np.ndarray]]:
    """Steps of an optimizer with these gradients, {the model's own name: array}, in the place of the model's.

    Before the last one the learning rate is multiplied by `factor`. Returns what is trained, after each step; the model
    is left as it was, the optimizer is not. Raises SpecError for one whose rate follows a schedule, or that was built
    for another model.
    """
    moved, depthwise, found = _moved(model, optimizer), _depthwise(model), []
    before = _parameters(model)
    with untaped():
        try:
            for i, given in enumerate(gradients):
                natives = [_native(given[name], tuple(v.shape), id(v) in depthwise) for name, v in moved.items()]
                tensors = [keras.ops.convert_to_tensor(each, v.dtype) for each, v in zip(natives, moved.values())]
                if i == len(gradients) - 1:
                    optimizer.learning_rate = float(array_of(optimizer.learning_rate)) * factor
                optimizer.apply([optimizer.scale_loss(each) for each in tensors], list(moved.values()))
                found.append(_parameters(model))
        finally:
            assign(model, before)
    return found


def arrays(model: keras.Model) -> dict[str, np.ndarray]:
    """{the model's own name: array} of its variables of floats, in canonical layout."""
    depthwise = _depthwise(model)
    return {name: _canonical(array_of(each), id(each) in depthwise) for name, each in _variables(model).items()}


@one_at_a_time
def assign(model: keras.Model, values: dict[str, np.ndarray]) -> None:
    """Puts arrays in canonical layout into the variables of these names."""
    variables, depthwise = _variables(model), _depthwise(model)
    for name, array in values.items():
        variable = variables[name]
        variable.assign(_native(array, tuple(variable.shape), id(variable) in depthwise))


def _input(model: keras.Model, images: np.ndarray) -> Any:
    """Images as a tensor of the model's dtype and layout; the model is built."""
    last = _channels_last(model)
    _check_images(model, images, last)
    x = keras.ops.convert_to_tensor((images.transpose(TO_LAST) if last else images).astype(_dtype(model)))
    if not all(layer.built for layer in model._flatten_layers()):
        model(x, training=False)
    return x


def _recorded(model: keras.Model, seen: "_Seen", training: bool) -> tuple[Recording, Any]:
    """A pass, and its logits."""
    x = seen.x
    with _dispatching_to(seen):
        logits = seen.symbol_of(_logits(model(x, training=training)))
    dtype = keras.backend.standardize_dtype(x.dtype)
    return Recording("keras", dtype, seen.images, tuple(seen.calls), tuple(seen.outputs), logits.number), logits.real


class _Seen:
    """Does what Keras dispatches, and writes down each operation on what the images became, and what it put out."""

    def __init__(self, model: keras.Model, x: Any, tape: Tape | None = None) -> None:
        last = _channels_last(model)
        self.x = x
        self.tape = tape
        self.scope = keras.StatelessScope()  # has what running statistics become
        self.calls: list[Call] = []
        self.outputs: list[np.ndarray] = []
        self.lasts: list[bool] = []  # whether the channels of an output come last
        self.places: list[Any] = []  # where an output is on the tape, if it is a layer's
        self.images = nchw(array_of(x), last)
        self.last = last
        self.layers: list[tuple[keras.Layer, int]] = []  # that run at this moment, the model first; from which call on
        self.names = {id(variable): name for name, variable in _variables(model).items()}
        self.symbols = {id(x): Symbol(x, INPUT, last)}  # of all tensors of the pass
        self.batch_mean: Any = None

    def layer_called(self, call: Function, layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        """keras.Layer.__call__, which gets real tensors: with symbols it would make the layer part of a graph."""
        symbolic = bool(_symbols_in((args, kwargs)))
        args, kwargs = self.symbols_of((args, kwargs))
        if layer._convert_input_args:  # which it does, too, but nobody would see it
            convert = partial(layer.dtype_policy.convert_input, autocast=layer.autocast, dtype=layer.input_dtype)
            args, kwargs = keras.tree.map_structure(convert, (args, kwargs))
        made = call(layer, *real(args), **real(kwargs))
        return self.symbols_of(made) if symbolic else made

    def operation_called(self, call: Function, operation: Any, args: Any, kwargs: Any) -> Any:
        """keras.Operation.__call__, where that of layers ends, and symbolic_call."""
        if isinstance(operation, keras.Layer):
            self.layers.append((operation, len(self.calls)))
            try:
                return real(self._layer(call, operation, *self.symbols_of((args, kwargs))))
            finally:
                self.layers.pop()
        if _symbols_in((args, kwargs)):
            return self._operation(operation.call, operation, args, kwargs)
        return call(operation, *args, **kwargs)

    def symbols_of(self, values: Any, inputs: tuple[int, ...] = (UNKNOWN,)) -> Any:
        """A structure with symbols for its tensors."""
        return keras.tree.map_structure(lambda each: self.symbol_of(each, inputs) if _is_tensor(each) else each, values)

    def symbol_of(self, tensor: Any, inputs: tuple[int, ...] = (UNKNOWN,)) -> Symbol:
        """A tensor's symbol; one that was made outside of Keras, of `inputs` somehow, is a new value."""
        if not self._is_known(tensor):
            return self._append(self._outside(tensor, inputs), tensor, self.last)
        return self.symbols[id(tensor)]

    def gradients(self, loss: Any, values: Sequence[Any]) -> tuple[dict[int, np.ndarray], Sequence[Any]]:
        """The loss's by each layer's output that is on the tape, and by values, None where none arrives there."""
        assert self.tape is not None
        layers = [number for number, place in enumerate(self.places) if place is not None]
        places = [self.places[number] for number in layers] + [self.tape.place(value) for value in values]
        found = self.tape.gradients(loss, places)
        of_outputs = {number: np.zeros_like(self.outputs[number]) for number in layers}
        arrived = {number: each for number, each in zip(layers, found) if each is not None}
        of_outputs |= {number: nchw(array_of(each), self.lasts[number]) for number, each in arrived.items()}
        return of_outputs, found[len(layers) :]

    def _layer(self, call: Function, layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        own, unchanged = keras_class(layer), _is_unchanged(layer)
        if unchanged and own.__name__ in SPELLED_OUT:
            return self._inside(partial(SPELLED_OUT[own.__name__], layer), args, kwargs)
        if layer.quantization_mode or (unchanged and own.__name__ in LAYERS):
            return self._operation(partial(call, layer), layer, args, kwargs)
        activation = getattr(layer, "activation", None)
        if unchanged and callable(activation):  # be it tf.nn.relu, what comes before it is seen
            layer = _twin(layer, activation=self._watched(ACTIVATIONS.get(activation, activation)))
        return self._inside(layer.call, args, kwargs)

    def _watched(self, function: Function) -> Function:
        return lambda x: self._inside(function, (x,), {}) if isinstance(x, Symbol) else function(x)

    def _inside(self, function: Function, args: Any, kwargs: Any) -> Any:
        """Calls what is made of operations, so that each of them is seen.

        What does with tensors things that symbols cannot gets real ones: then its layers are seen, and what is between
        them is outside of Keras. If not even that can be, as where it is compiled, it is one call.
        """
        inputs, mark = tuple(each.number for each in _symbols_in((args, kwargs))), len(self.calls)
        assigned = dict(self.scope.state_mapping)
        try:
            return self.symbols_of(function(*args, **kwargs), inputs)
        except Exception:
            self._forget(mark, assigned)
        args, kwargs = real(args), real(kwargs)
        try:
            return self.symbols_of(function(*args, **kwargs), inputs)
        except Exception:
            self._forget(mark, assigned)
        with _dispatching_to_keras():
            made = function(*args, **kwargs)
        return self.symbols_of(made, inputs)

    def _operation(self, function: Function, operation: Any, args: Any, kwargs: Any) -> Any:
        """Calls what is one operation; a tensor that it makes is a call's output."""
        with _dispatching_to_keras():
            made = function(*real(args), **real(kwargs))
        name, layer, given = keras_class(operation).__name__, self.layers[-1][0], _symbols_in((args, kwargs))
        if name == "Moments" and isinstance(layer, keras.layers.BatchNormalization):
            self.batch_mean = made[0]
            return made  # real, as they go into the norm and the running statistics, and nowhere else
        if not _is_tensor(made):
            return self.symbols_of(made, tuple(each.number for each in given))
        if name in ("Cast", "ConvertToTensor") and made.dtype == given[0].real.dtype:
            return given[0]
        a = vars(operation) | signature(operation.call).bind(*args, **kwargs).arguments
        a |= {"layer": layer, "batch_mean": self.batch_mean}
        kind, settings = described(operation, a, given[0], made)
        tensors, parameters = _tensors_in((args, kwargs)), {}
        if kind in PARAMETRIC:
            tensors, parameters = given, self._parameters(a)
        inputs = tuple(getattr(each, "number", UNKNOWN) for each in tensors)
        call = Call(kind, self._path(), self._text(operation), inputs, settings, parameters)
        if kind == "add" and self._is_bias(call):
            before = self.calls[-1]
            self._drop(len(self.calls) - 1)
            call = replace(before, parameters={**before.parameters, "bias": self.names[id(layer.bias)]})
        return self._append(call, made, channels_last(operation, a, given[0], self.last))

    def _parameters(self, a: dict[str, Any]) -> dict[str, str]:
        """The names of an operation's arguments that are parameters; a layer of batch norm hands on casts of them."""
        held = {last: a[name] for name, last in OPERANDS.items() if name in a}
        if isinstance(a["layer"], keras.layers.BatchNormalization):
            held = {CANONICAL[each.name]: each for each in a["layer"].variables if each.name in CANONICAL}
        return {last: self.names[id(each)] for last, each in held.items() if id(each) in self.names}

    def _is_bias(self, call: Call) -> bool:
        """Whether it adds the layer's bias to what the call before put out, as Keras' convolutions and Dense do."""
        bias, last = getattr(self.layers[-1][0], "bias", None), len(self.calls) - 1
        if call.inputs[0] != last or id(bias) not in self.names or "constant" not in call.settings:
            return False
        before = self.calls[last]
        if before.kind not in ("conv", "linear") or before.layer != call.layer or "bias" in before.parameters:
            return False
        return np.array_equal(np.ravel(call.settings["constant"]), array_of(bias))

    def _append(self, call: Call, made: Any, last: bool) -> Symbol:
        if self._is_known(made):  # what it was given
            made = keras.ops.copy(made)
        symbol = self.symbols[id(made)] = Symbol(made, len(self.calls), last)
        self.calls.append(call)
        self.outputs.append(nchw(array_of(made), last))
        self.lasts.append(last)
        self.places.append(self.tape.place(made) if self.tape and call.kind in spec.recording.LAYERS else None)
        return symbol

    def _is_known(self, tensor: Any) -> bool:
        """Whether it has a symbol; on PyTorch it may have been written to since."""
        symbol = self.symbols.get(id(tensor))
        return symbol is not None and symbol.version == version(tensor)

    def _outside(self, tensor: Any, inputs: tuple[int, ...]) -> Call:
        """What the framework under Keras did, told by what came of it: tf.nn.relu and tf.concat."""
        array, place = nchw(array_of(tensor), self.last), (self._path(), text_of(self.layers[-1][0]))
        values = {number: self._value(number) for number in range(len(self.outputs) - 1, INPUT - 1, -1)}
        for number, value in values.items():
            for kind, result in (("identity", value), ("relu", np.maximum(value, 0))):
                if np.array_equal(array, result):
                    return Call(kind, *place, (number,))
        parts: list[int] = []
        channels = 0
        while array.ndim == 4 and channels < array.shape[1]:
            fitting = [number for number, value in values.items() if _starts_with(array[:, channels:], value)]
            if not fitting:
                break
            parts.append(max(fitting, key=lambda number: values[number].shape[1]))
            channels += values[parts[-1]].shape[1]
        whole = len(parts) > 1 and channels == array.shape[1]
        return Call("concat", *place, tuple(parts), {"axis": 1}) if whole else Call("other", *place, inputs)

    def _drop(self, mark: int) -> None:
        del self.calls[mark:], self.outputs[mark:], self.lasts[mark:], self.places[mark:]

    def _forget(self, mark: int, assigned: dict[int, Any]) -> None:
        """All since `mark`, when the variables that were assigned to had these values."""
        self.scope.state_mapping = dict(assigned)
        self._drop(mark)
        self.symbols = {key: symbol for key, symbol in self.symbols.items() if symbol.number < mark}

    def _path(self) -> str:
        return "/".join(layer.name for layer, _ in self.layers[1:])

    def _text(self, operation: Any) -> str:
        """What a layer of Keras does first is called as the layer is, and anything else as the function."""
        layer, mark = self.layers[-1]
        first = len(self.calls) == mark and _is_unchanged(layer) and not isinstance(layer, keras.Model)
        return text_of(layer if first else operation)

    def _value(self, number: int) -> np.ndarray:
        return self.images if number == INPUT else self.outputs[number]


class _Here(threading.local):
    seen: _Seen | None = None


_here = _Here()
_one_recording = threading.Lock()


@contextmanager
def _dispatching_to(seen: _Seen) -> Iterator[None]:
    """Lets `seen` do what this thread calls of layers and operations; one recording at a time, as this is for all.

    Models that run in other threads do so as ever.
    """
    places = ((keras.Layer, "__call__"), (keras.Operation, "__call__"), (keras.Operation, "symbolic_call"))

    def replacement(place: type, original: Function) -> Function:
        def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if _here.seen is None:
                return original(operation, *args, **kwargs)
            see = _here.seen.layer_called if place is keras.Layer else _here.seen.operation_called
            return see(original, operation, args, kwargs)

        return called

    with _one_recording:
        originals = [getattr(place, name) for place, name in places]
        try:
            for (place, name), original in zip(places, originals):
                setattr(place, name, replacement(place, original))
            _here.seen = seen
            yield
        finally:
            _here.seen = None
            for (place, name), original in zip(places, originals):
                setattr(place, name, original)


@contextmanager
def _dispatching_to_keras() -> Iterator[None]:
    """Lets Keras do what this thread calls, as ever."""
    seen, _here.seen = _here.seen, None
    try:
        yield
    finally:
        _here.seen = seen


@contextmanager
def _kept_buffers(model: keras.Model) -> Iterator[None]:
    """Puts back what is assigned past the scope, as what was traced before does: a tf.function."""
    before = _buffers(model)
    try:
        yield
    finally:
        after = _buffers(model)
        changed = [name for name, array in before.items() if not np.array_equal(array, after[name], equal_nan=True)]
        assign(model, {name: before[name] for name in changed})


def _is_unchanged(layer: keras.Layer) -> bool:
    """Whether a layer is called as Keras has it, and nobody put in a call of their own."""
    return getattr(layer.call, "__func__", None) is getattr(keras_class(layer), "call", None)


def _twin(layer: keras.Layer, **attributes: Any) -> keras.Layer:
    """A layer on the same variables with other attributes; the layer itself may be at work in other threads."""
    twin = object.__new__(type(layer))
    vars(twin).update(vars(layer), **attributes)
    return twin


def _is_tensor(value: Any) -> bool:
    """Whether it is a real tensor; on TensorFlow, Keras counts variables among them."""
    return keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)


def _symbols_in(values: Any) -> list[Symbol]:
    return [each for each in keras.tree.flatten(values) if isinstance(each, Symbol)]


def _tensors_in(values: Any) -> list[Any]:
    return [each for each in keras.tree.flatten(values) if isinstance(each, Symbol) or _is_tensor(each)]


def _starts_with(array: np.ndarray, value: np.ndarray) -> bool:
    """Whether the first channels are those of a value."""
    fits = value.ndim == 4 and value.shape[0] == array.shape[0] and value.shape[2:] == array.shape[2:]
    return fits and np.array_equal(array[:, : value.shape[1]], value)


def _channels_last(model: keras.Model) -> bool:
    """Where channels are: as the first convolution says, else any layer, else the configuration of Keras."""
    layers = model._flatten_layers()
    convolutions = [layer for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    formats = (getattr(layer, "data_format", None) for layer in [*convolutions, *layers])
    return next((found for found in formats if found), keras.config.image_data_format()) == "channels_last"


def _check_images(model: keras.Model, images: np.ndarray, last: bool) -> None:
    """As far as the model says what it takes: one that is no graph does not."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise spec.SpecError(f"{model.name} has {len(inputs)} inputs, expected images alone: give a model of those")
    if not inputs or len(inputs[0].shape) != 4:
        return
    shape = [inputs[0].shape[axis] for axis in (TO_FIRST if last else range(4))][1:]
    if any(size not in (None, found) for size, found in zip(shape, images.shape[1:])):
        expected, found = (" x ".join(str(size or "any") for size in sizes) for sizes in (shape, images.shape[1:]))
        raise spec.SpecError(f"{model.name} takes images of {expected}, found {found}: give images of that shape")


def _dtype(model: keras.Model) -> str:
    """The dtype of the variables as they are held: JAX may have made float32 of float64."""
    held = [keras.backend.standardize_dtype(variable.value.dtype) for variable in _variables(model).values()]
    return held[0] if held else keras.config.floatx()


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of floats by their paths, numbered where layers share a name."""
    named: dict[str, keras.Variable] = {}
    seen = Counter[str]()
    for variable in model.variables:
        if "float" in variable.dtype:
            seen[variable.path] += 1
            number = seen[variable.path]
            named[f"{variable.path}:{number}" if number > 1 else variable.path] = variable
    return named


def _trained(model: keras.Model) -> dict[str, keras.Variable]:
    """Those that are trainable."""
    trained = {id(variable) for variable in model.trainable_variables}
    return {name: variable for name, variable in _variables(model).items() if id(variable) in trained}


def _buffers(model: keras.Model) -> dict[str, np.ndarray]:
    """What is never trained, as running statistics; a frozen kernel is none of them."""
    buffers = {id(each) for layer in model._flatten_layers() for each in layer._non_trainable_variables}
    names = {name for name, variable in _variables(model).items() if id(variable) in buffers}
    return {name: array for name, array in arrays(model).items() if name in names}


def _parameters(model: keras.Model) -> dict[str, np.ndarray]:
    """What is trained."""
    trained = _trained(model)
    return {name: array for name, array in arrays(model).items() if name in trained}


def _moved(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """The trainable variables among those that the optimizer is built for, or from now on is."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise spec.SpecError(f"the optimizer is a {type(optimizer).__name__}, expected a keras.optimizers.Optimizer")
    if not isinstance(optimizer.learning_rate, keras.Variable):
        raise spec.SpecError(
            "the optimizer's learning rate follows a schedule, expected a number: give one with a constant rate"
        )
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    known, trained = {id(variable) for variable in optimizer._trainable_variables}, _trained(model)
    moved = {name: variable for name, variable in trained.items() if id(variable) in known}
    if trained and not moved:
        raise spec.SpecError(
            f"the optimizer moves no trainable variable of {model.name}: give one that was built for it, or not yet"
        )
    return moved


def _depthwise(model: keras.Model) -> set[int]:
    """The ids of the kernels of depthwise convolutions, which are (H, W, C, how many of each)."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.DepthwiseConv2D)]
    return {id(layer.kernel) for layer in layers if layer.built}


def _canonical(array: np.ndarray, depthwise: bool) -> np.ndarray:
    if depthwise:  # -> (C * how many of each, 1, H, W): a convolution in C groups
        return array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2])
    return array.transpose(TO_CANONICAL.get(array.ndim, tuple(range(array.ndim)))).copy()


def _native(array: np.ndarray, shape: tuple[int, ...], depthwise: bool) -> np.ndarray:
    if depthwise:
        return array.reshape(*shape[2:], *shape[:2]).transpose(2, 3, 0, 1)
    return array.transpose(FROM_CANONICAL.get(array.ndim, tuple(range(array.ndim))))


def _logits(output: Any) -> Any:
    if isinstance(output, dict):
        output = output.get("logits", output.get("out"))
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if keras.ops.is_tensor(output) and len(output.shape) == 2:
        return output
    found = f"a tensor of shape {tuple(output.shape)}" if keras.ops.is_tensor(output) else type(output).__name__
    raise spec.SpecError(f"the model should return logits (N, classes), found {found}: give a model that does")
