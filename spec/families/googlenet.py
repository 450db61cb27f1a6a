"""GoogLeNet without its auxiliary classifiers, with torchvision's names for its stages.

After Szegedy et al.: Going Deeper with Convolutions. CVPR 2015, table 1. Departs from it: no local response
normalization, no dropout, no ReLU after the reducing 1x1 convolutions inside an Inception.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Inception
from spec.config import FAMILY, NetworkConfig
from spec.families.squeeze_excitation import AtBlockOrFinal, placed
from spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.tree import Chain

# Channels of the four branches (table 1: #1x1, #3x3 reduce and #3x3, #5x5 reduce and #5x5, pool proj).
STAGES = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "maxpool3": None,
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "maxpool4": None,
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


class GoogLeNetConfig(NetworkConfig):
    """The images, the classes and squeeze-and-excitation."""

    family: Literal["googlenet"] = Field("googlenet", description=FAMILY)
    squeeze_excitation: AtBlockOrFinal = Field(
        None, description="none, or placed at block (after each concatenation) or final (before the global pool)"
    )

    def nodes(self) -> Chain:
        """A stem of three convolutions and nine Inceptions."""
        se = self.squeeze_excitation
        chain: Chain = (
            ("conv1", Conv(self.in_channels, 64, kernel_size=7, stride=2, padding=3, bias=True)),
            ("relu1", ReLU()),
            ("maxpool1", MaxPool(kernel_size=3, stride=2, padding=1)),
            ("conv2", Conv(64, 64, kernel_size=1, stride=1, padding=0, bias=True)),
            ("relu2", ReLU()),
            ("conv3", Conv(64, 192, kernel_size=3, stride=1, padding=1, bias=True)),
            ("relu3", ReLU()),
            ("maxpool2", MaxPool(kernel_size=3, stride=2, padding=1)),
        )
        channels = 192
        for stage, widths in STAGES.items():
            if widths is None:
                chain += ((stage, MaxPool(kernel_size=3, stride=2, padding=1)),)
            else:
                b1, b2, b3, b4 = widths
                inception = Inception(channels, branch1=b1, branch2=b2, branch3=b3, branch4=b4, bias=True)
                channels = inception.out_channels
                chain += ((stage, inception), *placed(se, "block", f"se_{stage}", channels))
        return (
            *chain,
            *placed(se, "final", "se", channels),
            ("avgpool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("fc", Linear(channels, self.num_classes, bias=True)),
        )
