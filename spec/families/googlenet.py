"""GoogLeNet without its auxiliary classifiers, with torchvision's names for its stages.

After Szegedy et al.: Going Deeper with Convolutions. CVPR 2015, table 1. Departs from it: no local response
normalization, no dropout, no ReLU after the reducing 1x1 convolutions inside an Inception.
"""

from typing import Literal

from pydantic import Field, model_validator

from spec.blocks import Inception, Node
from spec.config import FAMILY, NetworkConfig
from spec.families.squeeze_excitation import SqueezeExcitationConfig, check_placement, modules
from spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.network import Network, assemble

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
    squeeze_excitation: SqueezeExcitationConfig | None = Field(
        None, description="none, or placed at block (after each concatenation) or final (before the global pool)"
    )

    @model_validator(mode="after")
    def _check_placement(self) -> "GoogLeNetConfig":
        check_placement(self.squeeze_excitation, ("block", "final"))
        return self


def googlenet(config: GoogLeNetConfig, name: str = "googlenet") -> Network:
    """A stem of three convolutions and nine Inceptions."""
    se = config.squeeze_excitation
    nodes: list[tuple[str, Node]] = [
        ("conv1", Conv(config.in_channels, 64, 7, 2, 3, bias=True)),
        ("relu1", ReLU()),
        ("maxpool1", MaxPool(3, 2, 1)),
        ("conv2", Conv(64, 64, 1, 1, 0, bias=True)),
        ("relu2", ReLU()),
        ("conv3", Conv(64, 192, 3, 1, 1, bias=True)),
        ("relu3", ReLU()),
        ("maxpool2", MaxPool(3, 2, 1)),
    ]
    channels = 192
    for stage, widths in STAGES.items():
        if widths is None:
            nodes.append((stage, MaxPool(3, 2, 1)))
        else:
            inception = Inception(channels, *widths, bias=True)
            channels = inception.out_channels
            nodes.append((stage, inception))
            nodes += modules(se, "block", f"se_{stage}", channels)
    nodes += modules(se, "final", "se", channels)
    nodes += [
        ("avgpool", GlobalAvgPool()),
        ("flatten", Flatten()),
        ("fc", Linear(channels, config.num_classes, bias=True)),
    ]
    return assemble(name, config, nodes)
