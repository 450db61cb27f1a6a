"""The layers of a network in the order in which they run, without names: the same list from a model and from the spec.

A layer is a convolution, a batch norm or a linear layer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

import spec
from spec.layers import BatchNorm, Conv, Linear
from spec.recording import PARAMETRIC, Call, Recording
from spec.shapes import Shape
from spec.tree import Node

KINDS: dict[type[Node], str] = {Conv: "conv", BatchNorm: "batch_norm", Linear: "linear"}


@dataclass(frozen=True)
class Layer:
    """A layer, under its canonical path or the model's own name for it.

    `shape` is that of its weight, of a batch norm (channels,); `bias` is a convolution's or a linear layer's.
    """

    kind: str
    path: str
    shape: Shape
    bias: bool

    def __str__(self) -> str:
        return f"a {self.kind} of {self.shape}{' with bias' if self.bias else ''}"

    @cached_property
    def dims(self) -> Shape:
        """The shape in which a 1x1 convolution is a linear layer: either may stand for the other."""
        return self.shape[:2] if self.shape[2:] == (1, 1) else self.shape

    @cached_property
    def outside(self) -> Shape:
        """What does not follow from the layers before: output channels and kernel. A batch norm has neither."""
        return (self.dims[0], *self.dims[2:]) if self.dims[1:] else ()


def recorded(recording: Recording, arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """A model's layers; raises SpecError where it has none, or none whose shape it tells."""
    calls = [(call, output) for call, output in zip(recording.calls, recording.outputs) if call.kind in PARAMETRIC]
    if not calls:
        raise spec.SpecError("the model has no convolution, batch norm or linear layer, by which networks are told")
    return [_layer(call, output.shape, arrays) for call, output in calls]


def specified(root: Node) -> list[Layer]:
    """A network's layers."""
    return [
        Layer(KINDS[type(node)], path, node.parameter_shapes()["weight"], isinstance(node, Conv | Linear) and node.bias)
        for path, node in spec.walk(root)
        if type(node) in KINDS
    ]


@lru_cache(maxsize=256)
def layers_of(config: spec.NetworkConfig) -> tuple[Layer, ...]:
    """Those of its network, for images of any size; raises SpecError or Misfit where it describes none."""
    return tuple(specified(spec.Sequential(config.nodes())))


def same(ones: Sequence[Layer], others: Sequence[Layer], in_order: bool = True) -> bool:
    """Whether they could be one network's; out of order, too, where that may be."""
    forms = [[(layer.dims, layer.bias) for layer in layers] for layers in (ones, others)]
    return forms[0] == forms[1] if in_order else sorted(forms[0]) == sorted(forms[1])


def agreeing(ones: Sequence[Layer], others: Sequence[Layer]) -> int:
    """How many layers come before the first that is not the same."""
    unlike = (i for i, (one, other) in enumerate(zip(ones, others)) if not same([one], [other]))
    return next(unlike, min(len(ones), len(others)))


def _layer(call: Call, output: Shape, arrays: Mapping[str, np.ndarray]) -> Layer:
    weight = call.parameters.get("weight", "")
    path = re.sub(r"[./_]?(weight|kernel|gamma)$", "", weight) or call.layer or call.text
    if call.kind == "batch_norm":  # which may have no weight
        return Layer(call.kind, path, (output[1],), bias=False)
    if weight not in arrays:
        raise spec.SpecError(
            f"{path} is a {call.kind} whose weight is no parameter of the model: nothing tells its shape"
        )
    return Layer(call.kind, path, arrays[weight].shape, "bias" in call.parameters)
