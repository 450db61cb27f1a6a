"""ResNet of basic blocks, with torchvision's names.

After He, Zhang, Ren & Sun: Deep Residual Learning for Image Recognition. CVPR 2016, table 1 (18 and 34 layers).
The defaults depart from it: convolutions have a bias, and projecting shortcuts no batch norm. With
`conv_bias=false` and `projection_norm=true` it is torchvision's ResNet, and its checkpoints fit.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Residual, Sequential, numbered
from spec.config import FAMILY, BlockConfig, NormedConfig
from spec.families.squeeze_excitation import AtBlockOrFinal, gate, placed
from spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.tree import Chain


class ResNetConfig(NormedConfig):
    """How many residual blocks each stage has, and what they are made of."""

    family: Literal["resnet"] = Field("resnet", description=FAMILY)
    block_config: BlockConfig = Field(
        description="residual blocks in each stage; the first stage has 64 channels, each later one twice as many"
    )
    conv_bias: bool = Field(True, description="whether convolutions have a bias")
    projection_norm: bool = Field(False, description="whether batch norm follows the 1x1 convolution of a shortcut")
    squeeze_excitation: AtBlockOrFinal = Field(
        None, description="none, or placed at block (on each branch before its sum) or final (before the global pool)"
    )

    def nodes(self) -> Chain:
        """A stem, stages of residual blocks, each but the first of which halves the maps, and a linear layer."""
        channels = 64
        chain: Chain = (
            ("conv1", Conv(self.in_channels, channels, kernel_size=7, stride=2, padding=3, bias=self.conv_bias)),
            ("bn1", self.batch_norm(channels)),
            ("relu", ReLU()),
            ("maxpool", MaxPool(kernel_size=3, stride=2, padding=1)),
        )
        for i, num_blocks in enumerate(self.block_config):
            out_channels = 64 * 2**i
            chain += ((f"layer{i + 1}", self._stage(channels, out_channels, num_blocks)),)
            channels = out_channels
        return (
            *chain,
            *placed(self.squeeze_excitation, "final", "se", channels),
            ("avgpool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("fc", Linear(channels, self.num_classes, bias=True)),
        )

    def _stage(self, channels: int, out_channels: int, num_blocks: int) -> Sequential:
        """Residual blocks; the first changes channels and size, where the stage does."""
        others = [self._residual(out_channels, out_channels)] * (num_blocks - 1)
        return numbered(self._residual(channels, out_channels), *others)

    def _residual(self, channels: int, out_channels: int) -> Residual:
        changes = channels != out_channels
        return Residual(
            channels,
            out_channels,
            stride=2 if changes else 1,
            bias=self.conv_bias,
            projection=changes,
            projection_norm=self.projection_norm,
            squeeze_excitation=gate(self.squeeze_excitation, "block", out_channels),
            eps=self.eps,
            decay=self.decay,
        )
