"""VGG, with torchvision's names, so that its checkpoints fit where channels and classes do.

Simonyan & Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015, table 1,
configurations A, B, D and E.
"""

from typing import Annotated, Literal

from pydantic import Field

from spec.blocks import Node, Sequential
from spec.config import FAMILY, NetworkConfig, PositiveInt
from spec.families.head import flattened_features, flattening
from spec.layers import Conv, Dropout, Linear, MaxPool, ReLU
from spec.network import Network, assemble


class VGGConfig(NetworkConfig):
    """How many 3x3 convolutions each of the five blocks has."""

    family: Literal["vgg"] = Field("vgg", description=FAMILY)
    block_config: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=5, max_length=5)] = Field(
        description="convolutions in each of the five blocks"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout after the first two linear layers")


def vgg(config: VGGConfig, name: str = "vgg") -> Network:
    """Blocks of 3x3 convolutions, each ended by a pool, and three linear layers."""
    nodes: list[Node] = []
    channels = config.in_channels
    for num_convs, out_channels in zip(config.block_config, (64, 128, 256, 512, 512)):
        for _ in range(num_convs):
            nodes += [Conv(channels, out_channels, 3, 1, 1, bias=True), ReLU()]
            channels = out_channels
        nodes.append(MaxPool(2, 2, 0))
    features = _numbered(nodes)
    classifier: list[Node] = [
        Linear(flattened_features(config, features, "vgg"), 4096, bias=True),
        ReLU(),
        Dropout(config.dropout),
        Linear(4096, 4096, bias=True),
        ReLU(),
        Dropout(config.dropout),
        Linear(4096, config.num_classes, bias=True),
    ]
    return assemble(name, config, flattening(features, list(_numbered(classifier).children)))


def _numbered(nodes: list[Node]) -> Sequential:
    """Named 0, 1, 2 ... as in a torch Sequential."""
    return Sequential(tuple((str(i), node) for i, node in enumerate(nodes)))
