"""Chains of layers that can be cut, as nn.Sequential can."""

from collections import OrderedDict
from typing import Any

from torch import nn


class Chain(nn.Sequential):
    """One that is made of a node: its slices, which no node describes, are plain nn.Sequentials."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[index]))
        return super().__getitem__(index)
