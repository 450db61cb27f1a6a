"""What a model's network is after layers were replaced by hand, as people do with the first one and the last."""

from functools import reduce
from typing import Any

from mxnet.gluon import Block, nn

import spec


def block_at(model: Block, path: str) -> Block:
    """The block of that path."""
    return reduce(lambda block, name: block._children[name], path.split("."), model)


def replace(model: Block, path: str, block: Block) -> None:
    """Puts a block in the place of another, of any type: Gluon itself would insist on the same.

    A Dense that is to find out how many values it takes knows it from then on.
    """
    *parents, name = path.split(".")
    parent = reduce(lambda inside, each: inside._children[each], parents, model)
    before = vars(parent).pop(name)
    Block.__setattr__(parent, name, block)
    for each in (parent, model):
        each._clear_cached_op()
    if isinstance(block, nn.Dense) and isinstance(before, nn.Dense) and block.weight.shape[1] < 1:
        block.weight.shape = (block._units, before.weight.shape[1])


def changes(model: Block, first: str | None, output: str | None) -> dict[str, int | None]:
    """The channels that the first convolution takes, and the classes that the last layer tells apart, where known.

    The classes are None where there is no such layer any more, but a block without parameters.
    """
    found: dict[str, int | None] = {}
    if first and (channels := _numbers(block_at(model, first), "_in_channels")):
        found["in_channels"] = channels[0]
    if output:
        block = block_at(model, output)
        if units := _numbers(block, "_units"):
            found["num_classes"] = units[-1]
        elif not block.collect_params():
            found["num_classes"] = None
    return found


def rebuilt(network: spec.Network, **fields: int | None) -> spec.Network:
    """The network of its config with other `fields`, without its classifier where those say that it has no classes."""
    config = network.config
    headless = None in fields.values()
    known = {name: value for name, value in fields.items() if value is not None}
    if config is not None and any(getattr(config, name) != value for name, value in known.items()):
        network = spec.build(type(config)(**config.model_dump() | known), network.name)
    return network.headless if headless else network


def _numbers(block: Block, name: str) -> list[Any]:
    """What the layers inside a block, and it itself, have under that name, but for what is not known yet."""
    inside = [number for child in block._children.values() for number in _numbers(child, name)]
    return [*filter(None, [getattr(block, name, None)]), *inside]
