"""What any PyTorch model did in a forward pass, a stranger's too: its operations as the dispatcher sees them.

Modules, functions of torch.nn.functional and methods of tensors all end there, so that none can hide.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import spec
from densenet_torch.interop import array_of, kept_buffers, mode
from densenet_torch.operations import NAMES, Settings, described
from spec.recording import INPUT, UNKNOWN, Call, Recording
from spec.threads import one_at_a_time


@one_at_a_time
def record(model: nn.Module, images: np.ndarray, training: bool = False) -> Recording:
    """A pass of images (N, C, H, W), in inference or training mode; the model is left as it was.

    Raises SpecError for a model that returns no logits (N, classes).
    """
    some = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    x = torch.from_numpy(np.ascontiguousarray(images)).to(some)
    seen = _Seen(model, x)
    with mode(model, training), kept_buffers(model), torch.no_grad(), _in_layers(model, seen), seen:
        output = seen.number_of(_logits(model(x)))
    if output == UNKNOWN:
        raise spec.SpecError("the logits cannot be followed back to the images: a part of the model is not PyTorch's")
    return Recording(
        framework="torch",
        dtype=str(some.dtype).removeprefix("torch."),
        images=array_of(x),
        calls=tuple(seen.calls),
        outputs=tuple(seen.outputs),
        output=output,
    )


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

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), kwargs: Any = None) -> Any:
        given = list(_flat(arguments))
        numbers = {id(value): self.number_of(value) for value in given if isinstance(value, Tensor)}
        result = function(*arguments, **(kwargs or {}))
        made = result[0] if isinstance(result, tuple | list) and result else result
        if not isinstance(made, Tensor):
            return result
        if any(number != UNKNOWN for number in numbers.values()):
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
        if number == UNKNOWN or np.array_equal(array_of(tensor), self._value(number), equal_nan=True):
            return number
        self._append(Call("other", self.layers[-1][0], "written to in place", (number,)), tensor)
        return self.numbers[id(tensor)]

    def _add(
        self, function: Any, arguments: Sequence[Any], kwargs: Settings, numbers: dict[int, int], made: Tensor
    ) -> None:
        name = function._schema.name.removeprefix("aten::").rstrip("_")
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
        if kind == "batch_norm" and len(made) != len(self.images):  # each image is a batch of its own
            kind, settings, name = "other", {}, "instance_norm"
        path, module = self.layers[-1]
        leaf = not any(module.children())
        text = f"nn.{type(module).__name__}" if leaf and module is not self.layers[0][1] else f"torch {name}"
        self._append(Call(kind, path, text, tuple(numbers[id(each)] for each in own), settings, parameters), made)

    def _append(self, call: Call, made: Tensor) -> None:
        self.numbers[id(made)] = len(self.calls)
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
