"""ResNet of basic blocks, with torchvision's names.

After He, Zhang, Ren & Sun: Deep Residual Learning for Image Recognition. CVPR 2016, table 1 (18 and 34 layers).
The defaults depart from it: convolutions have a bias, and projecting shortcuts no batch norm. With
`conv_bias=false` and `projection_norm=true` it is torchvision's ResNet, and its checkpoints fit.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spec.blocks import Node, Residual, Sequential
from spec.config import FAMILY, NetworkConfig, PositiveInt
from spec.families.squeeze_excitation import SqueezeExcitationConfig, check_placement, module, modules
from spec.layers import BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.network import Network, assemble


class ResNetConfig(NetworkConfig):
    """How many residual blocks each stage has, and what they are made of."""

    family: Literal["resnet"] = Field("resnet", description=FAMILY)
    block_config: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        description="residual blocks in each stage; the first stage has 64 channels, each later one twice as many"
    )
    conv_bias: bool = Field(True, description="whether convolutions have a bias")
    projection_norm: bool = Field(False, description="whether batch norm follows the 1x1 convolution of a shortcut")
    squeeze_excitation: SqueezeExcitationConfig | None = Field(
        None, description="none, or placed at block (on each branch before its sum) or final (before the global pool)"
    )
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance in batch norm")
    decay: float = Field(0.9, ge=0, lt=1, description="share of the old running statistic that an update keeps")

    @model_validator(mode="after")
    def _check_placement(self) -> "ResNetConfig":
        check_placement(self.squeeze_excitation, ("block", "final"))
        return self


def resnet(config: ResNetConfig, name: str = "resnet") -> Network:
    """A stem, stages of residual blocks, each but the first of which halves the maps, and a linear layer."""
    channels = 64
    nodes: list[tuple[str, Node]] = [
        ("conv1", Conv(config.in_channels, channels, 7, 2, 3, config.conv_bias)),
        ("bn1", BatchNorm(channels, config.eps, config.decay)),
        ("relu", ReLU()),
        ("maxpool", MaxPool(3, 2, 1)),
    ]
    for i, num_blocks in enumerate(config.block_config):
        out_channels = 64 * 2**i
        nodes.append((f"layer{i + 1}", _stage(config, channels, out_channels, num_blocks)))
        channels = out_channels
    nodes += modules(config.squeeze_excitation, "final", "se", channels)
    nodes += [
        ("avgpool", GlobalAvgPool()),
        ("flatten", Flatten()),
        ("fc", Linear(channels, config.num_classes, bias=True)),
    ]
    return assemble(name, config, nodes)


def _stage(config: ResNetConfig, channels: int, out_channels: int, num_blocks: int) -> Sequential:
    """Residual blocks; the first changes channels and size, where the stage does."""
    changes = [channels != out_channels] + [False] * (num_blocks - 1)
    return Sequential(
        tuple(
            (
                str(i),
                Residual(
                    in_channels=channels if i == 0 else out_channels,
                    out_channels=out_channels,
                    stride=2 if change else 1,
                    bias=config.conv_bias,
                    projection=change,
                    projection_norm=config.projection_norm,
                    squeeze_excitation=module(config.squeeze_excitation, "block", out_channels),
                    eps=config.eps,
                    decay=config.decay,
                ),
            )
            for i, change in enumerate(changes)
        )
    )
