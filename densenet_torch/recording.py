"""What any PyTorch model did in a forward pass, a stranger's too: its operations as the dispatcher sees them.

Modules, functions of torch.nn.functional and methods of tensors all end there, so that none can hide.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import spec
from densenet_torch.interop import array_of, cross_entropy, kept_buffers, mode
from densenet_torch.operations import NAMES, NEW, Settings, described, dropout_rate, name_of
from spec.recording import INPUT, LAYERS, UNKNOWN, Call, Recording, Training
from spec.threads import one_at_a_time


@one_at_a_time
def record(model: nn.Module, images: np.ndarray, training: bool = False) -> Recording:
    """A pass of images (N, C, H, W), in inference or training mode; the model is left as it was.

    Raises SpecError for a model that returns no logits (N, classes).
    """
    seen = _Seen(model, _input(model, images))
    with mode(model, training), kept_buffers(model), torch.no_grad():
        return _recorded(model, seen)[0]


@one_at_a_time
def record_training(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> Training:
    """A pass in training mode with the mean cross-entropy of `labels`, integers (N,), and its backward pass.

    The model is left as it was, its parameters with the gradients that they had. Raises SpecError as `record` does.
    """
    seen = _Seen(model, _input(model, images).requires_grad_().clone())  # a copy may be written to
    with mode(model, True), kept_buffers(model), _kept_gradients(model), torch.enable_grad():
        recording, logits = _recorded(model, seen)
        gradients = seen.gradients()
        logits = logits.log() if recording.calls[recording.output].kind == "softmax" else logits
        if logits.requires_grad:
            cross_entropy(logits, labels).backward()
        named = {name: parameter.grad for name, parameter in model.named_parameters()}
        parameters = {name: array_of(gradient) for name, gradient in named.items() if gradient is not None}
        buffers = {name: array_of(each) for name, each in model.named_buffers() if each.is_floating_point()}
    return Training(recording, labels, gradients, parameters, buffers)


@one_at_a_time
def descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, gradients: Sequence[Mapping[str, np.ndarray]], factor: float
) -> list[dict[str, np.ndarray]]:
    """Steps of an optimizer with these gradients, {the model's own name: array}, in the place of the model's.

    Before the last one the learning rate is multiplied by `factor`. Returns what is trained, after each step; the model
    is left as it was, the optimizer is not. Raises SpecError for what is no optimizer.
    """
    _check_optimizer(optimizer)
    parameters, found = {name: p for name, p in model.named_parameters() if p.requires_grad}, []
    before = arrays(model)
    with _kept_gradients(model):
        try:
            for i, given in enumerate(gradients):
                for name, parameter in parameters.items():
                    parameter.grad = torch.from_numpy(given[name].copy()).to(parameter)
                if i == len(gradients) - 1:
                    for group in optimizer.param_groups:
                        group["lr"] *= factor
                optimizer.step()
                found.append({name: array_of(parameter) for name, parameter in parameters.items()})
        finally:
            assign(model, {name: before[name] for name in parameters})
    return found


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """{the model's own name: array} of its parameters and buffers of floats, in canonical layout."""
    return {name: array_of(tensor) for name, tensor in _tensors(model)}


@one_at_a_time
def assign(model: nn.Module, values: dict[str, np.ndarray]) -> None:
    """Puts arrays in canonical layout into the parameters and buffers of these names."""
    tensors = dict(_tensors(model))
    with torch.no_grad():
        for name, array in values.items():
            tensors[name].copy_(torch.from_numpy(array.copy()))


def _input(model: nn.Module, images: np.ndarray) -> Tensor:
    """Images as a tensor of the model's dtype and device."""
    some = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.from_numpy(np.ascontiguousarray(images)).to(some)


def _recorded(model: nn.Module, seen: "_Seen") -> tuple[Recording, Tensor]:
    """A pass in the modes that are set, and its logits."""
    x = seen.alive[0]
    with _in_layers(model, seen), seen:
        logits = _logits(model(x))
        output = seen.number_of(logits)
    if output == UNKNOWN:
        raise spec.SpecError("the logits cannot be followed back to the images: a part of the model is not PyTorch's")
    dtype = str(x.dtype).removeprefix("torch.")
    return Recording("torch", dtype, seen.images, tuple(seen.calls), tuple(seen.outputs), output), logits


class _Seen(TorchDispatchMode):
    """Writes down each operation on what the images became, and what it put out."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.outputs: list[np.ndarray] = []
        self.layers: list[tuple[str, nn.Module]] = [("", model)]
        self.parameters = {id(tensor): name for name, tensor in _tensors(model)}
        self.numbers = {id(x): INPUT}
        self.images = array_of(x)
        self.alive: list[Tensor] = [x]  # so that no other tensor gets the id of one that is gone
        self.kept: set[int] = set()  # values whose gradients can be seen
        self.nodes: dict[int, tuple[Any, int]] = {}  # of the backward pass, and which of its outputs the value is

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), kwargs: Any = None) -> Any:
        given = list(_flat(arguments))
        numbers = {id(value): self.number_of(value) for value in given if isinstance(value, Tensor)}
        result = function(*arguments, **(kwargs or {}))
        made = result[0] if isinstance(result, tuple | list) and result else result
        if not isinstance(made, Tensor):
            return result
        if function is torch.ops.aten.detach.default and numbers[id(given[0])] != UNKNOWN:  # autograd does so, too
            self.numbers[id(made)] = numbers[id(given[0])]
        elif any(number != UNKNOWN for number in numbers.values()) and not name_of(function).startswith(NEW):
            self._add(function, arguments, kwargs or {}, numbers, made)
            for part in result[1:] if isinstance(result, list) else ():  # of a split
                self._append(replace(self.calls[-1], kind="other"), part)
                self.alive.append(part)
        elif len(given) == 1 and id(given[0]) in self.parameters:  # a view of a parameter, such as its transpose
            self.parameters[id(made)] = self.parameters[id(given[0])]
        self.alive.append(made)
        return result

    def number_of(self, tensor: Tensor) -> int:
        """The value that a tensor holds; one that was written to since, through another view of it, is a new one."""
        number = self.numbers.get(id(tensor), UNKNOWN)
        if number != UNKNOWN and not np.array_equal(array_of(tensor), self._value(number), equal_nan=True):
            self._append(Call("other", self.layers[-1][0], "written to in place", (number,)), tensor)
            number = self.numbers[id(tensor)]
        if tensor.grad_fn is not None:  # known since the call that made it has ended
            self.nodes.setdefault(number, (tensor.grad_fn, tensor.output_nr))
        return number

    def gradients(self) -> dict[int, np.ndarray]:
        """{number: gradient} by each layer's output made with gradients enabled, as a backward pass then fills it."""
        layers = [number for number in sorted(self.kept) if self.calls[number].kind in LAYERS]
        found = {number: np.zeros_like(self.outputs[number]) for number in layers}

        def into(number: int, which: int) -> Callable[..., None]:
            def write(gradients: Sequence[Tensor | None]) -> None:
                if (gradient := gradients[which]) is not None:
                    found[number] = array_of(gradient)

            return write

        for number in found.keys() & self.nodes.keys():
            node, which = self.nodes[number]
            node.register_prehook(into(number, which))
        return found

    def _add(
        self, function: Any, arguments: Sequence[Any], kwargs: Settings, numbers: dict[int, int], made: Tensor
    ) -> None:
        name = name_of(function)
        bound = {argument.name: argument.default_value for argument in function._schema.arguments}
        bound |= dict(zip(bound, arguments)) | kwargs
        kind, settings = described(name, bound, made)
        tensors = [value for value in _flat(bound.values()) if isinstance(value, Tensor)]
        parameters = {
            last: self.parameters[id(bound[theirs])]
            for theirs, last in NAMES.get(name, {}).items()
            if id(bound[theirs]) in self.parameters
        }
        own = [tensor for tensor in tensors if id(tensor) not in self.parameters]
        if kind in spec.recording.COMBINING[1:] and "constant" not in settings:
            constants = [each for each in own if numbers[id(each)] == UNKNOWN]
            settings |= {"constant": array_of(constants[0])} if constants else {}
            if kind == "multiply" and constants and (rate := dropout_rate(settings["constant"], made)):
                kind, settings = "dropout", {"rate": rate, "training": True}
        if kind == "batch_norm" and len(made) != len(self.images):  # each image is a batch of its own
            kind, settings, name = "other", {}, "instance_norm"
        path, module = self.layers[-1]
        leaf = not any(module.children())
        text = f"nn.{type(module).__name__}" if leaf and module is not self.layers[0][1] else f"torch {name}"
        self._append(Call(kind, path, text, tuple(numbers[id(each)] for each in own), settings, parameters), made)

    def _append(self, call: Call, made: Tensor) -> None:
        self.numbers[id(made)] = len(self.calls)
        if torch.is_grad_enabled():
            self.kept.add(len(self.calls))
        self.calls.append(call)
        self.outputs.append(array_of(made))

    def _value(self, number: int) -> np.ndarray:
        return self.images if number == INPUT else self.outputs[number]


@contextmanager
def _in_layers(model: nn.Module, seen: _Seen) -> Iterator[None]:
    """Lets `seen` know which module runs."""

    def enter(path: str) -> Callable[..., None]:
        return lambda module, arguments: seen.layers.append((path, module))

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        seen.layers.pop()

    hooks = []
    for path, module in model.named_modules():
        if path:
            hooks.append(module.register_forward_pre_hook(enter(path)))
            hooks.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _kept_gradients(model: nn.Module) -> Iterator[None]:
    """Starts without gradients, and puts those back that there were."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _check_optimizer(optimizer: Any) -> None:
    if not hasattr(optimizer, "step") or not hasattr(optimizer, "param_groups"):
        raise spec.SpecError(
            f"the optimizer is a {type(optimizer).__name__}, expected a torch.optim.Optimizer: build one of the "
            "model's parameters()"
        )


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return [(name, tensor) for name, tensor in named if tensor.is_floating_point()]


def _logits(output: Any) -> Tensor:
    if isinstance(output, dict):
        output = output.get("logits", output.get("out"))
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, Tensor) and output.ndim == 2:
        return output
    found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise spec.SpecError(f"the model should return logits (N, classes), found {found}: give a model that does")


def _flat(values: Any) -> Iterator[Any]:
    """The arguments of an operation, those in lists included."""
    for value in values:
        yield from _flat(value) if isinstance(value, list | tuple) else (value,)
