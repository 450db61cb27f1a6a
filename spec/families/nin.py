"""Network in Network, at the size of AlexNet.

After Lin, Chen & Yan: Network In Network. ICLR 2014, section 3. Departs from it: the paper's networks are
for CIFAR, MNIST and SVHN; kernels and strides are AlexNet's here, and dropout stands once, before the last block.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Sequential, sequence
from spec.config import FAMILY, NetworkConfig
from spec.layers import Conv, Dropout, Flatten, GlobalAvgPool, MaxPool, ReLU
from spec.tree import Chain


class NiNConfig(NetworkConfig):
    """The images, the classes and the dropout."""

    family: Literal["nin"] = Field("nin", description=FAMILY)
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout before the last block")

    def nodes(self) -> Chain:
        """Four blocks of a convolution and two 1x1 ones, the last with a channel for each class."""
        features = sequence(
            block1=_block(self.in_channels, 96, kernel_size=11, stride=4, padding=0),
            pool1=MaxPool(kernel_size=3, stride=2, padding=0),
            block2=_block(96, 256, kernel_size=5, stride=1, padding=2),
            pool2=MaxPool(kernel_size=3, stride=2, padding=0),
            block3=_block(256, 384, kernel_size=3, stride=1, padding=1),
            pool3=MaxPool(kernel_size=3, stride=2, padding=0),
            dropout=Dropout(rate=self.dropout),
            block4=_block(384, self.num_classes, kernel_size=3, stride=1, padding=1),
        )
        return ("features", features), ("pool", GlobalAvgPool()), ("flatten", Flatten())


def _block(in_channels: int, out_channels: int, **windows: int) -> Sequential:
    pointwise = Conv(out_channels, out_channels, kernel_size=1, stride=1, padding=0, bias=True)
    conv = Conv(in_channels, out_channels, **windows, bias=True)
    return sequence(conv1=conv, relu1=ReLU(), conv2=pointwise, relu2=ReLU(), conv3=pointwise, relu3=ReLU())
