"""Chains of any layers side by side on Keras tensors: what networks become that are rewritten for inference."""

from typing import Any

from keras.layers import Add, Concatenate, ReLU

import spec
from densenet_keras.layers import build, channel_axis
from spec import blocks
from spec.tree import Parallel


def ends_of(node: Parallel, x: Any, name: str) -> list[Any]:
    """What each chain makes of one input."""
    found = []
    for chain in node.chains:
        end = x
        for child_name, child in chain:
            end = build(child, end, spec.join(name, child_name))
        found.append(end)
    return found


@build.register
def concatenation(node: blocks.Concatenation, x: Any, name: str) -> Any:
    """Chains side by side, concatenated."""
    return Concatenate(axis=channel_axis(), name=name)(ends_of(node, x, name))  # (N, H', W', all their channels)


@build.register
def rectified_sum(node: blocks.RectifiedSum, x: Any, name: str) -> Any:
    """Chains side by side, added, then a ReLU."""
    return ReLU(name=name)(Add(name=f"{name}.add")(ends_of(node, x, name)))  # (N, H', W', C')
