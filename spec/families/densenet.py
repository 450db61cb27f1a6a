"""DenseNet: its config, and the one place where its channel arithmetic is done.

Huang, Liu, van der Maaten & Weinberger: Densely Connected Convolutional Networks. CVPR 2017.
Parameter names are torchvision's, so that its checkpoints fit.
"""

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spec.blocks import DenseBlock, DenseLayer, Node, Sequential, Transition
from spec.config import FAMILY, Config, NetworkConfig, PositiveInt
from spec.errors import SpecError
from spec.families.squeeze_excitation import SqueezeExcitationConfig, module, modules
from spec.layers import BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU
from spec.network import Network, assemble


class Stem(Config):
    """The layers before the first dense block. The defaults are the ImageNet networks' (table 1 of the paper)."""

    channels: PositiveInt | None = Field(None, description="output channels; none means 2 * growth_rate")
    kernel_size: PositiveInt = Field(7, description="kernel of the convolution")
    stride: PositiveInt = Field(2, description="stride of the convolution")
    padding: int = Field(3, ge=0, description="padding of the convolution, on every side")
    norm: bool = Field(True, description="whether batch norm and ReLU follow the convolution")
    pool: bool = Field(True, description="whether a 3x3 max pool with stride 2 and padding 1 follows")


class DenseNetConfig(NetworkConfig):
    """Everything that makes one DenseNet different from another.

    The defaults describe the plain DenseNet; `bn_size=4` adds the bottleneck ("B") and
    `compression=0.5` the compression ("C").
    """

    family: Literal["densenet"] = Field("densenet", description=FAMILY)
    growth_rate: PositiveInt = Field(description="k, the channels that each dense layer appends")
    block_config: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)] = Field(
        description="dense layers in each dense block"
    )
    bn_size: PositiveInt | None = Field(None, description="bottleneck width in units of k; none: no bottleneck")
    compression: float = Field(1.0, gt=0, le=1, description="share of the channels that a transition keeps")
    stem: Stem = Field(Stem(), description="the layers before the first dense block")
    dropout: float = Field(0.0, ge=0, lt=1, description="rate of dropout on each dense layer's new channels")
    squeeze_excitation: SqueezeExcitationConfig | None = Field(None, description="none: no such modules")
    conv_bias: bool = Field(False, description="whether convolutions have a bias")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance in batch norm")
    decay: float = Field(0.9, ge=0, lt=1, description="share of the old running statistic that an update keeps")

    @model_validator(mode="after")
    def _check_stem_padding(self) -> "DenseNetConfig":
        if self.stem.padding >= self.stem.kernel_size:
            raise SpecError(
                f"stem.padding must be smaller than stem.kernel_size ({self.stem.kernel_size}), "
                f"found {self.stem.padding}"
            )
        return self


def densenet(config: DenseNetConfig, name: str = "densenet") -> Network:
    """The network that `config` describes; raises SpecError where no such network exists."""
    channels = config.stem.channels or 2 * config.growth_rate
    nodes = _stem(config, channels)
    for i, num_layers in enumerate(config.block_config, start=1):
        block = _dense_block(config, channels, num_layers)
        channels += num_layers * config.growth_rate
        nodes.append((f"denseblock{i}", block))
        nodes += modules(config.squeeze_excitation, "block", f"se_denseblock{i}", channels)
        if i < len(config.block_config):
            out_channels = _compressed(config, channels)
            transition = Transition(channels, out_channels, config.conv_bias, config.eps, config.decay)
            channels = out_channels
            nodes.append((f"transition{i}", transition))
            nodes += modules(config.squeeze_excitation, "transition", f"se_transition{i}", channels)
    nodes += modules(config.squeeze_excitation, "final", "se", channels)
    nodes.append(("norm5", BatchNorm(channels, config.eps, config.decay)))  # torchvision's name, for any depth
    root: list[tuple[str, Node]] = [
        ("features", Sequential(tuple(nodes))),
        ("relu", ReLU()),
        ("pool", GlobalAvgPool()),
        ("flatten", Flatten()),
        ("classifier", Linear(channels, config.num_classes, bias=True)),
    ]
    return assemble(name, config, root)


def _stem(config: DenseNetConfig, channels: int) -> list[tuple[str, Node]]:
    stem = config.stem
    conv = Conv(config.in_channels, channels, stem.kernel_size, stem.stride, stem.padding, config.conv_bias)
    nodes: list[tuple[str, Node]] = [("conv0", conv)]
    if stem.norm:
        nodes += [("norm0", BatchNorm(channels, config.eps, config.decay)), ("relu0", ReLU())]
    if stem.pool:
        nodes.append(("pool0", MaxPool(kernel_size=3, stride=2, padding=1)))
    return nodes


def _dense_block(config: DenseNetConfig, channels: int, num_layers: int) -> DenseBlock:
    k = config.growth_rate
    se = module(config.squeeze_excitation, "layer", k)
    return DenseBlock(
        tuple(
            DenseLayer(
                in_channels=channels + i * k,
                growth_rate=k,
                bn_size=config.bn_size,
                bias=config.conv_bias,
                dropout=config.dropout,
                squeeze_excitation=se,
                eps=config.eps,
                decay=config.decay,
            )
            for i in range(num_layers)
        )
    )


def _compressed(config: DenseNetConfig, channels: int) -> int:
    """floor(compression * channels), exactly: 0.29 of 100 is 29, not the 28 that floats make of it."""
    out_channels = math.floor(Fraction(str(config.compression)) * channels)
    if out_channels < 1:
        raise SpecError(f"compression {config.compression} leaves none of {channels} channels: raise it")
    return out_channels
