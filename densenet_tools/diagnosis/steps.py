"""A network of the spec as a list: what is computed, one step after the other, and from what."""

from dataclasses import dataclass

import spec
from spec.layers import AvgPool, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool
from spec.recording import INPUT
from spec.tree import Chained, Node, through

LAYERS = (Conv, BatchNorm, Linear, MaxPool, AvgPool, GlobalAvgPool)  # what a stranger's model must have, too


@dataclass(frozen=True)
class Step:
    """What `node` makes of the outputs of other steps, whose numbers are its `sources`; INPUT is the images."""

    path: str
    node: Node
    sources: tuple[int, ...]

    @property
    def is_layer(self) -> bool:
        """Whether it is matched with an operation of the model; the others stand between these."""
        return isinstance(self.node, LAYERS)


def unrolled(network: spec.Network) -> tuple[Step, ...]:
    """All steps in order; the last one's output is the network's."""
    steps: list[Step] = []

    def combine(path: str, node: Node, ends: list[int]) -> int:
        if isinstance(node, Chained):
            return ends[0]
        steps.append(Step(path, node, tuple(ends)))
        return len(steps) - 1

    through(network.root, INPUT, combine)
    return tuple(steps)
