"""Network in Network, at the size of AlexNet.

After Lin, Chen & Yan: Network In Network. ICLR 2014, section 3. Departs from it: the paper's networks are
for CIFAR, MNIST and SVHN; kernels and strides are AlexNet's here, and dropout stands once, before the last block.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Node, Sequential
from spec.config import FAMILY, NetworkConfig
from spec.layers import Conv, Dropout, Flatten, GlobalAvgPool, MaxPool, ReLU
from spec.network import Network, assemble


class NiNConfig(NetworkConfig):
    """The images, the classes and the dropout."""

    family: Literal["nin"] = Field("nin", description=FAMILY)
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout before the last block")


def nin(config: NiNConfig, name: str = "nin") -> Network:
    """Four blocks of a convolution and two 1x1 ones, the last with a channel for each class."""
    features = (
        ("block1", _block(config.in_channels, 96, 11, 4, 0)),
        ("pool1", MaxPool(3, 2, 0)),
        ("block2", _block(96, 256, 5, 1, 2)),
        ("pool2", MaxPool(3, 2, 0)),
        ("block3", _block(256, 384, 3, 1, 1)),
        ("pool3", MaxPool(3, 2, 0)),
        ("dropout", Dropout(config.dropout)),
        ("block4", _block(384, config.num_classes, 3, 1, 1)),
    )
    root: list[tuple[str, Node]] = [
        ("features", Sequential(features)),
        ("pool", GlobalAvgPool()),
        ("flatten", Flatten()),
    ]
    return assemble(name, config, root)


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int) -> Sequential:
    return Sequential(
        (
            ("conv1", Conv(in_channels, out_channels, kernel_size, stride, padding, bias=True)),
            ("relu1", ReLU()),
            ("conv2", Conv(out_channels, out_channels, 1, 1, 0, bias=True)),
            ("relu2", ReLU()),
            ("conv3", Conv(out_channels, out_channels, 1, 1, 0, bias=True)),
            ("relu3", ReLU()),
        )
    )
