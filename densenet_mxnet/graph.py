"""A model as one static graph: what Gluon calls hybridized, beside the model, which stays as its user has it.

Eager execution takes 1.2 to 1.5 times as long. There is one graph for inference and one for training, since `concat`
differs, and for each kind of arrays, made when first needed; its memory is planned once for each shape. A graph is made
anew once the model has other blocks, or one of them other numbers.
"""

from typing import Any
from weakref import WeakKeyDictionary, ref

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import Block, Parameter

from densenet_mxnet.arrays import in_kind, is_np, kind
from densenet_mxnet.concat import retraced
from densenet_mxnet.model import ConvNet

FLAGS = (("static_alloc", True), ("static_shape", True))

_graphs: WeakKeyDictionary[ConvNet, dict[tuple[bool, bool], "Graph"]] = WeakKeyDictionary()


def run(model: ConvNet, x: mx.nd.NDArray) -> mx.nd.NDArray:
    """model(x) of checked images, as a static graph, or eagerly where blocks have hooks, which no graph calls."""
    blocks = all_blocks(model)
    if any(block._forward_hooks or block._forward_pre_hooks for block in blocks):
        return model(x)
    graphs = _graphs.setdefault(model, {})
    numpy = is_np(x)
    key = autograd.is_recording(), numpy
    with kind(numpy):
        if key not in graphs or graphs[key].settings != settings_of(blocks):
            graphs[key] = Graph(model, blocks, numpy)
        return graphs[key](model, x)


class Graph:
    """The model as it is now, recording or not; run eagerly where a block of its user's takes arrays alone."""

    def __init__(self, model: ConvNet, blocks: list[Block], numpy: bool):
        self.settings = settings_of(blocks)
        self.inputs: list[Parameter | None] = []
        self.op: Any = None
        try:
            with retraced():
                output = model(in_kind(mx.sym.var("data"), numpy))
        except Exception:  # of any kind, from any block: run eagerly, it says what is wrong, if anything is
            return
        parameters = dict(model.collect_params().items())
        self.inputs = [parameters.get(name) for name in output.list_inputs()]
        self.op = mx.nd.CachedOp(output, FLAGS)

    def __call__(self, model: ConvNet, x: mx.nd.NDArray) -> mx.nd.NDArray:
        if self.op is None:
            return model(x)
        return self.op(*(x if each is None else each.data(x.context) for each in self.inputs))


def all_blocks(block: Block) -> list[Block]:
    """The block and all below it."""
    return [block, *(each for child in block._children.values() for each in all_blocks(child))]


def settings_of(blocks: list[Block]) -> Any:
    """What a graph was made of: the blocks, which it does not keep alive, and the numbers that they were made with."""
    return [(ref(block), dict(getattr(block, "_kwargs", ())), getattr(block, "_rate", None)) for block in blocks]
