"""What any Gluon block did in a forward pass, a stranger's too: its operations as MXNet's Python interface calls them.

Gluon's layers, functions of mx.nd and mx.np and nearly all methods of arrays end in one function, which is watched for
the time of the pass. What runs in one piece is taken apart for it: hybridized blocks run eagerly, the graphs of
SymbolBlocks operation by operation.
"""

import ast
import ctypes
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from threading import RLock, get_ident
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.base import _LIB, MXNetError, check_call, py_str
from mxnet.gluon import Block, Parameter, SymbolBlock, Trainer
from mxnet.gluon.block import _common_prefix, _flatten, _regroup
from mxnet.ndarray import NDArray, register
from mxnet.util import is_np_array

import spec
from densenet_mxnet.arrays import legacy_arrays
from densenet_mxnet.interop import cross_entropy, eager, named_blocks
from densenet_mxnet.operations import NAMES, Settings, described
from spec.recording import ACTIVATIONS, COMBINING, INPUT, LAYERS, SHAPING, UNKNOWN, Call, Recording, Training
from spec.threads import one_at_a_time

_watching = RLock()  # MXNet has one function to call operations for all threads


@one_at_a_time
def record(model: Block, images: np.ndarray, training: bool = False) -> Recording:
    """A pass of images (N, C, H, W), in inference or training mode; the model is left as it was.

    Parameters whose shapes are not known before the first pass get them, and their values, in one more, before.
    Raises SpecError for a model without values, one that fails or returns no logits (N, classes), or in NHWC.
    """
    with _in_a_sentence(images), eager(model):
        seen = _Seen(model, _input(model, images))
        with autograd.pause(train_mode=training), _kept(model):
            return _recorded(model, seen)[0]


@one_at_a_time
def record_training(model: Block, images: np.ndarray, labels: np.ndarray) -> Training:
    """A pass in training mode with the mean cross-entropy of `labels`, integers (N,), and its backward pass.

    The model is left as it was, its parameters with the gradients that they had. Raises SpecError as `record` does.
    """
    with _in_a_sentence(images), eager(model):
        seen = _Seen(model, _input(model, images))
        with autograd.pause(train_mode=True), _kept(model):
            with autograd.record():
                recording, logits = _recorded(model, seen)
                loss = _loss(logits, labels, recording.calls[recording.output].kind)
            seen.held.clear()  # what autograd has no use for is freed
            trained = {name: parameter.data(loss.context) for name, parameter in _trained(model).items()}
            found = _gradients(loss, [*seen.zeros.values(), *trained.values()])
            after = arrays(model)  # MXNet updates running statistics in the backward pass
    gradients, parameters = dict(zip(seen.zeros, found)), dict(zip(trained, found[len(seen.zeros) :]))
    return Training(recording, labels, gradients, parameters, {name: after[name] for name in _statistics(recording)})


@one_at_a_time
def descend(
    model: Block, optimizer: Trainer, gradients: Sequence[Mapping[str, np.ndarray]], factor: float
) -> list[dict[str, np.ndarray]]:
    """Steps of an optimizer with these gradients, {the model's own name: array}, in the place of the model's.

    Before the last one the learning rate is multiplied by `factor`. Returns what is trained, after each step; the model
    is left as it was, the optimizer is not. Raises SpecError where the learning rate follows a schedule.
    """
    _check_optimizer(optimizer)
    parameters, found = _trained(model), []
    with autograd.pause(), _kept(model), _kept_gradients(parameters.values()):
        for i, given in enumerate(gradients):
            for name, parameter in parameters.items():
                _give(parameter, given[name])
            if i == len(gradients) - 1:
                optimizer.set_learning_rate(optimizer.learning_rate * factor)
            optimizer.step(1, ignore_stale_grad=True)  # of parameters that are none of the model's
            after = arrays(model)
            found.append({name: after[name] for name in parameters})
    return found


def arrays(model: Block) -> dict[str, np.ndarray]:
    """{the model's own name: array} of its parameters and buffers of floats, in canonical layout.

    One that has no values before the first pass is left out.
    """
    mx.nd.waitall()  # a static graph's first backward updates statistics without the arrays knowing that it will
    return {name: datas[0].asnumpy() for name, datas in _values(model).items()}


@one_at_a_time
def assign(model: Block, values: dict[str, np.ndarray]) -> None:
    """Puts arrays in canonical layout into the parameters and buffers of these names."""
    own = _values(model)
    with autograd.pause():
        for name, array in values.items():
            for data in own[name]:
                _write(data, array)
    for _, block in named_blocks(model):
        if hasattr(block, "_clear_cached_op"):
            block._clear_cached_op()  # a graph optimized for inference keeps the old values folded in


def _input(model: Block, images: np.ndarray) -> NDArray:
    """Images as an array of the model's dtype, where it is; what has no shape before the first pass gets it in one."""
    floats = [p for p in _parameters(model).values() if np.dtype(p.dtype).kind == "f"]
    dtype = np.dtype(floats[0].dtype if floats else "float32").name
    place = floats[0].list_ctx()[0] if floats else mx.current_context()
    x = (mx.np if is_np_array() else mx.nd).array(images, dtype=dtype, ctx=place)
    if any(parameter._data is None for parameter in _parameters(model).values()):
        with autograd.pause(), _kept(model):
            _recorded(model, _Seen(model, x.copy()))  # the model may write into it
    return x


def _recorded(model: Block, seen: "_Seen") -> tuple[Recording, NDArray]:
    """A pass in the modes that are set, and its logits."""
    x = seen.held[0][0]
    with _in_layers(model, seen), _watched(seen):
        logits = _logits(model(x))
        output = seen.number_of(logits)
    if output == UNKNOWN:
        raise spec.SpecError(
            "the logits cannot be followed back to the images: a part of the model computes in NumPy, or in a "
            "hybridized block that is no child of another: use MXNet's operations, and register_child"
        )
    dtype = np.dtype(x.dtype).name
    return Recording("mxnet", dtype, seen.images, tuple(seen.calls), tuple(seen.outputs), output), logits


class _Seen:
    """Writes down each operation on what the images became, and what it put out."""

    def __init__(self, model: Block, x: NDArray) -> None:
        self.calls: list[Call] = []
        self.outputs: list[np.ndarray] = []
        self.layers: list[tuple[str, Block]] = [("", model)]
        self.parameters: dict[int, str] = {}
        for name, datas in _values(model).items():
            for data in datas:
                self.parameters.setdefault(id(data), name)
        self.numbers: dict[int, int] = {}
        self.held: list[tuple[NDArray, int]] = []  # alive, so that no other gets the id or the memory of one of these
        self.zeros: dict[int, NDArray] = {}  # by which the gradients are those by the values of these numbers
        self.images = x.asnumpy()
        self.thread = get_ident()
        self._hold(x, INPUT)

    def invoke(
        self,
        original: Callable[..., Any],
        handle: int,
        given: Sequence[NDArray],
        keys: Sequence[str],
        values: Sequence[Any],
        out: Any,
        is_np: bool,
        as_list: bool,
    ) -> Any:
        """Calls an operation, as MXNet's function of that name does, and writes it down."""
        if get_ident() != self.thread:
            return original(handle, given, keys, values, out, is_np, as_list)
        name, attributes = _name_of(handle), {key: _read(str(value)) for key, value in zip(keys, values)}
        if attributes.get("layout") == "NHWC":
            place = self.layers[-1][0] or name
            raise spec.SpecError(f"{place}: layout NHWC cannot be compared: build the model with layout='NCHW'")
        numbers = [UNKNOWN if id(array) in self.parameters else self.number_of(array) for array in given]
        differentiated = autograd.is_recording() and out is None
        if differentiated and name == "Concat" and given[0].ndim == 4:
            results = [_concatenated(original, given, attributes.get("dim", 1))]
        else:
            results = _listed(original(handle, given, keys, values, out, is_np, as_list))
        if any(number != UNKNOWN for number in numbers):
            known = {key: value for key, value in attributes.items() if value is not None}
            first = self._add(name, known, given, numbers, results)
            if differentiated and self.calls[first].kind in LAYERS:
                self.zeros[first] = _zeros(results[0])
                results[0] = _call(original, "elemwise_add", [results[0], self.zeros[first]])
            for number, array in enumerate(results, start=first):
                self._hold(array, number)
        if out is not None:
            return out
        return results if as_list or len(results) > 1 else results[0]

    def number_of(self, array: NDArray) -> int:
        """The value that an array holds; one that was written to since, or is a view of another, is a new one."""
        number = self.numbers.get(id(array), UNKNOWN)
        text = "written to in place"
        if number == UNKNOWN:  # methods that copy nothing, such as reshape, are no operations
            number, text = self._holder(array), "mxnet view"
        if number == UNKNOWN:
            return UNKNOWN
        values, before = array.asnumpy(), self._value(number)
        if np.array_equal(values, before, equal_nan=True):
            return number
        same = values.size == before.size and np.array_equal(values.ravel(), before.ravel(), equal_nan=True)
        kind = described("Reshape", {}, [before], values)[0] if same else "other"
        self._hold(array, self._append(Call(kind, self.layers[-1][0], text, (number,)), values))
        return self.numbers[id(array)]

    def _add(
        self, name: str, a: Settings, given: Sequence[NDArray], numbers: list[int], results: Sequence[NDArray]
    ) -> int:
        """Appends the call, and another for each further output; returns the number of the first."""
        path, block = self.layers[-1]
        text = f"nn.{type(block).__name__}" if type(block).__module__.startswith("mxnet.gluon.nn.") else f"mxnet {name}"
        if name == "FullyConnected" and a.get("flatten", True) and given[0].ndim > 2 and numbers[0] != UNKNOWN:
            flat = given[0].asnumpy().reshape(len(given[0]), -1)
            kind = "flatten" if given[0].ndim == 4 else "reshape"
            numbers[0] = self._append(Call(kind, path, f"{text}(flatten=True)", (numbers[0],)), flat)
        kind, settings = described(name, a, given, results[0])
        own = [number for number, array in zip(numbers, given) if id(array) not in self.parameters]
        if kind in COMBINING[1:] and "constant" not in settings and UNKNOWN in numbers:
            reverse = kind in ("subtract", "divide") and numbers[0] == UNKNOWN
            constant = given[numbers.index(UNKNOWN)].asnumpy()
            kind, settings = ("other", {}) if reverse else (kind, {"constant": constant})
        if kind in (*ACTIVATIONS, *SHAPING):
            own = own[:1]  # what else there is gives a shape, or labels
        parameters = {
            last: self.parameters[id(array)]
            for last, array in zip(NAMES.get(name, ()), given)
            if id(array) in self.parameters
        }
        first = self._append(Call(kind, path, text, tuple(own), settings, parameters), results[0].asnumpy())
        for result in results[1:]:
            self._append(Call("other", path, text, tuple(own)), result.asnumpy())
        return first

    def _append(self, call: Call, values: np.ndarray) -> int:
        self.calls.append(call)
        self.outputs.append(values)
        return len(self.calls) - 1

    def _hold(self, array: NDArray, number: int) -> None:
        """Notes that the array has the value of this number."""
        self.numbers[id(array)] = number
        self.held.append((array, number))

    def _holder(self, array: NDArray) -> int:
        """The newest value in whose memory the array lies."""
        start, last = _extent(array)
        for other, number in reversed(self.held):
            first, end = _extent(other)
            if first <= start and last <= end:
                return number
        return UNKNOWN

    def _value(self, number: int) -> np.ndarray:
        return self.images if number == INPUT else self.outputs[number]


@contextmanager
def _watched(seen: _Seen) -> Iterator[None]:
    """Lets `seen` call all operations; MXNet's own function is back afterwards."""
    with _watching:
        original = register._imperative_invoke
        register._imperative_invoke = partial(seen.invoke, original)
        try:
            yield
        finally:
            register._imperative_invoke = original


@contextmanager
def _in_layers(model: Block, seen: _Seen) -> Iterator[None]:
    """Lets `seen` know which block runs; graphs of SymbolBlocks run as in _run."""

    def enter(path: str) -> Callable[..., None]:
        return lambda block, arguments: seen.layers.append((path, block))

    def leave(block: Block, arguments: Any, output: Any) -> None:
        seen.layers.pop()

    blocks: dict[int, tuple[str, Block]] = {}
    for path, block in named_blocks(model):
        blocks.setdefault(id(block), (path, block))  # one that is in two places has the first one's path
    graphs = [(path, block) for path, block in blocks.values() if isinstance(block, SymbolBlock)]
    hooks = []
    try:
        for path, block in blocks.values():
            if path:
                hooks += [block.register_forward_pre_hook(enter(path)), block.register_forward_hook(leave)]
        for path, block in graphs:
            block.forward = partial(_run, block, path, seen)
        yield
    finally:
        for hook in hooks:
            hook.detach()
        for _, block in graphs:
            vars(block).pop("forward", None)


def _run(block: SymbolBlock, path: str, seen: _Seen, *arguments: Any) -> Any:
    """What the block's graph puts out, made operation by operation, each a layer of its name."""
    variables, output = block._cached_graph
    place = arguments[0].context
    given = {parameter.name: parameter.data(place) for parameter in block.params.values() if parameter._data}
    given |= {variable.name: array for variable, array in zip(variables, _flatten(arguments, "input")[0])}
    graph = json.loads(output.tojson())
    prefix = _common_prefix(list(block.params))  # which the names of its parameters come without
    values: list[list[NDArray]] = []
    for node in graph["nodes"]:
        if node["op"] == "null":
            values.append([given[node["name"]]])
            continue
        if "subgraphs" in node:
            raise spec.SpecError(
                f"{path or 'the model'} is optimized, or has loops: {node['op']} is a graph by itself, which cannot be "
                "followed: give the model as it was before optimize_for, or its Gluon code"
            )
        attributes = {key: value for key, value in node.get("attrs", {}).items() if not key.startswith("__")}
        inputs = [values[number][output_number] for number, output_number, *_ in node["inputs"]]
        call = (_handle_of(node["op"]), inputs, list(attributes), list(attributes.values()), None, is_np_array(), True)
        layer = node["name"].removeprefix(prefix).removesuffix("_fwd")
        seen.layers.append((spec.join(path, layer), block))
        values.append(register._imperative_invoke(*call))
        seen.layers.pop()
    made = [values[number][output_number] for number, output_number, *_ in graph["heads"]]
    return _regroup(made, block._out_format)


def _loss(logits: NDArray, labels: np.ndarray, kind: str) -> NDArray:
    """The mean cross-entropy of logits, or of a softmax's output, which may depend on nothing that has a gradient."""
    with legacy_arrays():
        logits = logits.as_nd_ndarray()
        logits = logits.log() if kind == "softmax" else logits
        return cross_entropy(logits + _zeros(logits), labels)


def _gradients(loss: NDArray, variables: Sequence[NDArray]) -> list[np.ndarray]:
    """The loss's by each; zeros where it does not depend on one, which MXNet takes only as a further head."""
    zeros = [mx.nd.zeros(each.shape, each.context, each.dtype) for each in variables]
    found = autograd.grad([loss, *variables], variables, [mx.nd.ones_like(loss), *zeros]) if variables else []
    return [gradient.asnumpy() for gradient in found]


def _statistics(recording: Recording) -> list[str]:
    """The names of the running statistics of all batch norms."""
    held = [item for call in recording.calls for item in call.parameters.items()]
    return [name for last, name in held if last in ("running_mean", "running_var")]


def _zeros(array: NDArray) -> NDArray:
    """What is added to an array so that its gradient is the one by the sum: MXNet has none by what is computed."""
    zeros = mx.nd.zeros(array.shape, array.context, array.dtype)
    autograd.mark_variables([zeros], [mx.nd.empty(array.shape, array.context, array.dtype)])
    return zeros


def _concatenated(original: Callable[..., Any], given: Sequence[NDArray], dim: int) -> NDArray:
    """Maps with a fifth axis of length 1, since the gradient of four axes may fail: see densenet_mxnet.concat."""
    longer = [_call(original, "Reshape", [each], shape=(0, 0, 0, -1, 1)) for each in given]
    made = _call(original, "Concat", longer, dim=dim % 4, num_args=len(longer))
    return _call(original, "Reshape", [made], shape=(0, 0, 0, -1))


def _call(original: Callable[..., Any], name: str, given: Sequence[NDArray], **attributes: Any) -> NDArray:
    """Calls MXNet's operation of this name, which is not written down."""
    is_np = isinstance(given[0], mx.np.ndarray)
    return original(_handle_of(name), given, list(attributes), list(attributes.values()), None, is_np, False)


@contextmanager
def _in_a_sentence(images: np.ndarray) -> Iterator[None]:
    """Makes a SpecError of MXNet's errors, which have a stack trace."""
    try:
        yield
    except MXNetError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("MXNetError: ")
        raise spec.SpecError(f"the model cannot take images of shape {images.shape[1:]}: {reason}") from error


@contextmanager
def _kept(model: Block) -> Iterator[None]:
    """Puts all values back as they were; a batch norm whose gamma is fixed writes ones into it."""
    before = [(data, data.copy()) for datas in _values(model).values() for data in datas]
    try:
        yield
    finally:
        for data, value in before:
            data[:] = value


@contextmanager
def _kept_gradients(parameters: Iterable[Parameter]) -> Iterator[None]:
    """Puts the gradients back that there were, and whether each has been used since a backward pass."""
    pairs = [pair for parameter in parameters for pair in zip(parameter.list_data(), parameter.list_grad())]
    before = [(data, data._fresh_grad, gradient, gradient.copy()) for data, gradient in pairs]
    try:
        yield
    finally:
        for data, fresh, gradient, value in before:
            value.copyto(gradient)
            data._fresh_grad = fresh


def _give(parameter: Parameter, gradient: np.ndarray) -> None:
    """Writes a gradient as a backward pass does; on each device its share, as they are summed up."""
    pairs = list(zip(parameter.list_data(), parameter.list_grad()))
    for data, own in pairs:
        _write(own, gradient / len(pairs))
        data._fresh_grad = True


def _write(data: NDArray, array: np.ndarray) -> None:
    """Not by data[:], which cannot write over what oneDNN has in a layout of its own."""
    with legacy_arrays():
        mx.nd.array(array, dtype=data.dtype, ctx=data.ctx).copyto(data.as_nd_ndarray())


def _check_optimizer(optimizer: Trainer) -> None:
    if not isinstance(optimizer, Trainer):
        raise spec.SpecError(
            f"the optimizer is a {type(optimizer).__name__}, expected a gluon.Trainer: build one of the model's "
            "collect_params()"
        )
    if schedule := optimizer.optimizer.lr_scheduler:
        raise spec.SpecError(
            f"the learning rate follows a {type(schedule).__name__}, expected one number: build the Trainer without "
            "lr_scheduler"
        )


def _trained(model: Block) -> dict[str, Parameter]:
    """What gets gradients, each under its first name."""
    names: dict[Parameter, str] = {}
    for name, parameter in _parameters(model).items():
        names.setdefault(parameter, name)
    values = _values(model)
    return {name: parameter for parameter, name in names.items() if name in values and parameter.grad_req != "null"}


def _parameters(model: Block) -> dict[str, Parameter]:
    """By the model's own names; raises SpecError where one was never initialized."""
    parameters = model._collect_params_with_prefix()
    for name, parameter in parameters.items():
        if parameter._data is None and not parameter._deferred_init:
            raise spec.SpecError(f"{name} has no values: call the model's initialize() or load_parameters() first")
    return parameters


def _values(model: Block) -> dict[str, list[NDArray]]:
    """The arrays of each parameter of floats that has its values, one on each device."""
    named = _parameters(model).items()
    return {name: p.list_data() for name, p in named if p._data is not None and np.dtype(p.dtype).kind == "f"}


def _logits(output: Any) -> NDArray:
    if isinstance(output, dict):
        output = output.get("logits", output.get("out"))
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, NDArray) and output.ndim == 2:
        return output
    found = f"an array of shape {output.shape}" if isinstance(output, NDArray) else type(output).__name__
    raise spec.SpecError(f"the model should return logits (N, classes), found {found}: give a model that does")


def _read(text: str) -> Any:
    """An attribute's value: numbers, tuples, truth values, None; a word is itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def _listed(result: Any) -> list[NDArray]:
    return list(result) if isinstance(result, tuple | list) else [result]


@cache
def _name_of(handle: int) -> str:
    """An operation's name."""
    name = ctypes.c_char_p()
    check_call(_LIB.MXSymbolGetAtomicSymbolName(ctypes.c_void_p(handle), ctypes.byref(name)))
    return py_str(name.value)


@cache
def _handle_of(name: str) -> int:
    """The operation of this name."""
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(name.encode(), ctypes.byref(handle)))
    return handle.value or 0


def _extent(array: NDArray) -> tuple[int, int]:
    """Where its numbers begin in memory, and end."""
    pointer = ctypes.c_void_p()
    check_call(_LIB.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    start = pointer.value or 0
    return start, start + array.size * np.dtype(array.dtype).itemsize
