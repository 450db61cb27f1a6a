"""DenseNet: its config, and the one place where its channel arithmetic is done.

Huang, Liu, van der Maaten & Weinberger: Densely Connected Convolutional Networks. CVPR 2017.
Parameter names are torchvision's, so that its checkpoints fit.
"""

import math
from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from spec.blocks import DenseBlock, DenseLayer, Sequential, Transition
from spec.config import FAMILY, BlockConfig, Config, NormedConfig, PositiveInt
from spec.errors import SpecError
from spec.families.squeeze_excitation import SqueezeExcitationConfig, gate, placed
from spec.layers import Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.tree import Chain


class Stem(Config):
    """The layers before the first dense block. The defaults are the ImageNet networks' (table 1 of the paper)."""

    channels: PositiveInt | None = Field(None, description="output channels; none means 2 * growth_rate")
    kernel_size: PositiveInt = Field(7, description="kernel of the convolution")
    stride: PositiveInt = Field(2, description="stride of the convolution")
    padding: int = Field(3, ge=0, description="padding of the convolution, on every side")
    norm: bool = Field(True, description="whether batch norm and ReLU follow the convolution")
    pool: bool = Field(True, description="whether a 3x3 max pool with stride 2 and padding 1 follows")


class DenseNetConfig(NormedConfig):
    """Everything that makes one DenseNet different from another.

    The defaults describe the plain DenseNet; `bn_size=4` adds the bottleneck ("B") and
    `compression=0.5` the compression ("C").
    """

    family: Literal["densenet"] = Field("densenet", description=FAMILY)
    growth_rate: PositiveInt = Field(description="k, the channels that each dense layer appends")
    block_config: BlockConfig = Field(description="dense layers in each dense block")
    bn_size: PositiveInt | None = Field(None, description="bottleneck width in units of k; none: no bottleneck")
    compression: float = Field(1.0, gt=0, le=1, description="share of the channels that a transition keeps")
    stem: Stem = Field(Stem(), description="the layers before the first dense block")
    dropout: float = Field(0.0, ge=0, lt=1, description="rate of dropout on each dense layer's new channels")
    squeeze_excitation: SqueezeExcitationConfig | None = Field(None, description="none: no gates")
    conv_bias: bool = Field(False, description="whether convolutions have a bias")

    @model_validator(mode="after")
    def _check_stem_padding(self) -> "DenseNetConfig":
        if self.stem.padding >= self.stem.kernel_size:
            raise SpecError(
                f"stem.padding must be smaller than stem.kernel_size ({self.stem.kernel_size}), "
                f"found {self.stem.padding}"
            )
        return self

    def nodes(self) -> Chain:
        """The stem, dense blocks with transitions between them, and a linear layer."""
        channels = 2 * self.growth_rate if self.stem.channels is None else self.stem.channels
        features, se = self._stem(channels), self.squeeze_excitation
        for i, num_layers in enumerate(self.block_config, start=1):
            features += ((f"denseblock{i}", self._dense_block(channels, num_layers)),)
            channels += num_layers * self.growth_rate
            features += placed(se, "block", f"se_denseblock{i}", channels)
            if i < len(self.block_config):
                transition = self._transition(channels)
                channels = transition.out_channels
                features += ((f"transition{i}", transition), *placed(se, "transition", f"se_transition{i}", channels))
        features += placed(se, "final", "se", channels)
        features += (("norm5", self.batch_norm(channels)),)  # torchvision's name, for any depth
        return (
            ("features", Sequential(features)),
            ("relu", ReLU()),
            ("pool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("classifier", Linear(channels, self.num_classes, bias=True)),
        )

    def _stem(self, channels: int) -> Chain:
        stem = self.stem
        windows = {"kernel_size": stem.kernel_size, "stride": stem.stride, "padding": stem.padding}
        chain: Chain = (("conv0", Conv(self.in_channels, channels, **windows, bias=self.conv_bias)),)
        if stem.norm:
            chain += (("norm0", self.batch_norm(channels)), ("relu0", ReLU()))
        if stem.pool:
            chain += (("pool0", MaxPool(kernel_size=3, stride=2, padding=1)),)
        return chain

    def _dense_block(self, channels: int, num_layers: int) -> DenseBlock:
        k = self.growth_rate
        return DenseBlock(tuple(self._dense_layer(channels + i * k) for i in range(num_layers)))

    def _dense_layer(self, channels: int) -> DenseLayer:
        return DenseLayer(
            channels,
            self.growth_rate,
            bn_size=self.bn_size,
            bias=self.conv_bias,
            dropout=self.dropout,
            squeeze_excitation=gate(self.squeeze_excitation, "layer", self.growth_rate),
            eps=self.eps,
            decay=self.decay,
        )

    def _transition(self, channels: int) -> Transition:
        """To floor(compression * channels), exactly: 0.29 of 100 is 29, not the 28 that floats make of it."""
        out_channels = math.floor(Fraction(str(self.compression)) * channels)
        if out_channels < 1:
            raise SpecError(f"compression {self.compression} leaves none of {channels} channels: raise it")
        return Transition(channels, out_channels, bias=self.conv_bias, eps=self.eps, decay=self.decay)
