"""VGG, with torchvision's names, so that its checkpoints fit where channels and classes do.

Simonyan & Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015, table 1,
configurations A, B, D and E.
"""

from typing import Annotated, Literal

from pydantic import Field

from spec.blocks import numbered
from spec.config import FAMILY, BlockConfig, NetworkConfig
from spec.layers import Conv, Dropout, Flatten, Linear, MaxPool, ReLU
from spec.tree import Chain, Node


class VGGConfig(NetworkConfig):
    """How many 3x3 convolutions each of the five blocks has."""

    family: Literal["vgg"] = Field("vgg", description=FAMILY)
    block_config: Annotated[BlockConfig, Field(min_length=5, max_length=5)] = Field(
        description="convolutions in each of the five blocks"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout after the first two linear layers")

    def nodes(self) -> Chain:
        """Blocks of 3x3 convolutions, each ended by a pool, and three linear layers."""
        nodes: list[Node] = []
        channels = self.in_channels
        for num_convs, out_channels in zip(self.block_config, (64, 128, 256, 512, 512)):
            for _ in range(num_convs):
                nodes += [Conv(channels, out_channels, kernel_size=3, stride=1, padding=1, bias=True), ReLU()]
                channels = out_channels
            nodes.append(MaxPool(kernel_size=2, stride=2, padding=0))
        features = numbered(*nodes)
        classifier = numbered(
            Linear(self.flattened(features), 4096, bias=True),
            ReLU(),
            Dropout(rate=self.dropout),
            Linear(4096, 4096, bias=True),
            ReLU(),
            Dropout(rate=self.dropout),
            Linear(4096, self.num_classes, bias=True),
        )
        return ("features", features), ("flatten", Flatten()), ("classifier", classifier)
