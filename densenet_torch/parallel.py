"""Chains of any layers side by side as PyTorch modules: what networks become that are rewritten for inference."""

import torch
from torch import Tensor, nn

import spec
from densenet_torch.layers import build
from spec import blocks
from spec.tree import Parallel


class Ends(nn.Module):
    """The layers of all chains, under the spec's names."""

    def __init__(self, node: Parallel):
        super().__init__()
        for name, child in spec.children(node):
            self.add_module(name, build(child))
        self.chains = [[name for name, _ in chain] for chain in node.chains]

    def ends(self, x: Tensor) -> list[Tensor]:
        """What each chain makes of one input."""
        found = []
        for chain in self.chains:
            end = x
            for name in chain:
                end = self.get_submodule(name)(end)
            found.append(end)
        return found


@build.register(blocks.Concatenation)
class Concatenation(Ends):
    """Chains side by side, concatenated."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return torch.cat(self.ends(x), dim=1)  # (N, all their channels, H', W')


@build.register(blocks.RectifiedSum)
class RectifiedSum(Ends):
    """Chains side by side, added, then a ReLU."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return torch.relu(torch.stack(self.ends(x)).sum(dim=0))  # (N, C', H', W')
