"""Chains of any layers side by side as Gluon blocks: what networks become that are rewritten for inference."""

from typing import Any

import spec
from densenet_mxnet.concat import RecordingAware, concat
from densenet_mxnet.layers import build, relu
from spec import blocks
from spec.tree import Parallel


class Ends(RecordingAware):
    """The layers of all chains, under the spec's names."""

    def __init__(self, node: Parallel):
        super().__init__()
        with self.name_scope():
            for name, child in spec.children(node):
                setattr(self, name, build(child))
        self.chains = [[name for name, _ in chain] for chain in node.chains]

    def ends(self, x: Any) -> list[Any]:
        """What each chain makes of one input."""
        found = []
        for chain in self.chains:
            end = x
            for name in chain:
                end = self._children[name](end)
            found.append(end)
        return found


@build.register(blocks.Concatenation)
class Concatenation(Ends):
    """Chains side by side, concatenated."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        return concat(F, *self.ends(x))  # (N, all their channels, H', W')


@build.register(blocks.RectifiedSum)
class RectifiedSum(Ends):
    """Chains side by side, added, then a ReLU."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        first, *others = self.ends(x)
        return relu(F, sum(others, start=first))  # (N, C', H', W')
