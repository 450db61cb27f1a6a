"""The two kinds of arrays that MXNet has: mx.nd's, and mx.np's where `npx.set_np()` is on.

Gluon's layers compute in the kind that is on when they are called, but what they hold stays of the kind in which it was
made. Here the arrays that come in say which kind is on, and what a block holds follows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import mxnet as mx
from mxnet.gluon import Block, Parameter
from mxnet.util import is_np_array

NUMPY = (mx.np.ndarray, mx.sym.numpy._Symbol)


@contextmanager
def kind(numpy: bool) -> Iterator[None]:
    """Switches NumPy mode on or off."""
    if is_np_array() is numpy and mx.util.is_np_shape() is numpy:
        yield
        return
    scopes = [mx.util.np_shape(numpy), mx.util.np_array(numpy)]  # shapes go on first, and off last
    with ExitStack() as stack:
        for scope in scopes if numpy else reversed(scopes):
            stack.enter_context(scope)
        yield


def legacy_arrays() -> Any:
    """Switches NumPy mode off."""
    return kind(numpy=False)


def is_np(x: Any) -> bool:
    """Whether it is an array of mx.np, or a symbol of one."""
    return isinstance(x, NUMPY)


def holds_np(parameters: Mapping[str, Parameter]) -> bool:
    """Whether the values are arrays of mx.np, as they are where a model was filled in NumPy mode."""
    return is_np(next(iter(parameters.values()))._data[0])


def in_kind(x: Any, numpy: bool) -> Any:
    """An array or symbol in the other kind: the same memory, the same gradient."""
    return x.as_np_ndarray() if numpy else x.as_nd_ndarray()


def on_legacy_arrays(operation: Callable[..., Any]) -> Callable[..., Any]:
    """A function of F and arrays, or symbols, of mx.nd that takes those of mx.np, too."""

    @wraps(operation)
    def on_both(F: Any, *arrays: Any) -> Any:
        return in_kind(operation(F, *(in_kind(x, False) for x in arrays)), is_np(arrays[0]))

    return on_both


def follow(block: Block) -> None:
    """Makes what a block and those below it hold of the kind that is on; values, gradients and trainers stay."""
    numpy = is_np_array()
    for parameter in block.collect_params().values():
        if parameter._data is not None and is_np(parameter._data[0]) is not numpy:
            parameter._data = [in_kind(array, numpy) for array in parameter._data]
            parameter._grad = parameter._grad and [in_kind(array, numpy) for array in parameter._grad]
        if parameter._var is not None and is_np(parameter._var) is not numpy:
            parameter._var = in_kind(parameter._var, numpy)
    block.apply(_reset)


@contextmanager
def held_in(block: Block, numpy: bool) -> Iterator[None]:
    """That kind is on and the block holds it, which afterwards holds again what it held."""
    before = any(is_np(parameter._data[0]) for parameter in block.collect_params().values() if parameter._data)
    try:
        with kind(numpy):
            follow(block)
            yield
    finally:
        with kind(before):
            follow(block)


def _reset(block: Block) -> None:
    """A convolution notes when it is made what its operation is called: Convolution, or npx.convolution."""
    if hasattr(block, "_op_name"):
        block._op_name = block._op_name.lower() if is_np_array() else block._op_name.capitalize()
    if hasattr(block, "_traced"):
        block._traced = None  # see densenet_mxnet.concat
