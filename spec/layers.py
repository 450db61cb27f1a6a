"""Leaf nodes: one layer each, with every number written out.

A leaf says what is computed, never how. Feature maps are (N, C, H, W), vectors are (N, features).
Kernels, strides and paddings are square; padding is symmetric and explicit.
"""

from dataclasses import KW_ONLY, dataclass
from math import prod

from spec.shapes import Misfit, Shape, Shapes, TooLarge, TooSmall, map_of, windows
from spec.tree import Leaf

BUFFERS = ("running_mean", "running_var")


class Weightless(Leaf):
    """A leaf without parameters."""

    def parameter_shapes(self) -> Shapes:
        return {}


class Elementwise(Weightless):
    """A weightless leaf that leaves every shape as it is."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True)
class Conv(Leaf):
    """2-D cross-correlation; weight (out_channels, in_channels, kernel_size, kernel_size)."""

    in_channels: int
    out_channels: int
    _: KW_ONLY
    kernel_size: int
    stride: int
    padding: int
    bias: bool

    def output_shape(self, shape: Shape) -> Shape:
        map_of(shape, self.in_channels)
        return (self.out_channels, *windows(shape, self.kernel_size, self.stride, self.padding))

    def parameter_shapes(self) -> Shapes:
        weight = (self.out_channels, self.in_channels, self.kernel_size, self.kernel_size)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})


@dataclass(frozen=True)
class BatchNorm(Leaf):
    """Batch normalization over N, H, W (Ioffe & Szegedy 2015).

    `decay` is the share of the old running statistic that an update keeps: torch's momentum is
    `1 - decay`, Keras' and Gluon's is `decay`. The batch variance that normalizes is biased (1/n);
    the one that enters `running_var` is unbiased (1/(n-1)) in torch and biased in Keras and Gluon.
    """

    channels: int
    _: KW_ONLY
    eps: float
    decay: float

    def output_shape(self, shape: Shape) -> Shape:
        return map_of(shape, self.channels)

    def parameter_shapes(self) -> Shapes:
        return dict.fromkeys(("weight", "bias", *BUFFERS), (self.channels,))


@dataclass(frozen=True)
class ReLU(Elementwise):
    """max(x, 0)."""


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True, kw_only=True)
class MaxPool(Weightless):
    """Maximum over windows that lie wholly inside the padded map; padding counts as -infinity."""

    kernel_size: int
    stride: int
    padding: int

    def output_shape(self, shape: Shape) -> Shape:
        if 2 * self.padding > self.kernel_size:
            raise Misfit(f"padding {self.padding} is more than half its window of {self.kernel_size}")
        return (shape[0], *windows(shape, self.kernel_size, self.stride, self.padding))


@dataclass(frozen=True, kw_only=True)
class AvgPool(Weightless):
    """Mean over windows that lie wholly inside the map; no padding."""

    kernel_size: int
    stride: int

    def output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *windows(shape, self.kernel_size, self.stride, padding=0))


@dataclass(frozen=True)
class GlobalAvgPool(Weightless):
    """Mean over H and W, which stay as axes of length 1: (N, C, 1, 1)."""

    def output_shape(self, shape: Shape) -> Shape:
        return (map_of(shape)[0], 1, 1)


@dataclass(frozen=True)
class Flatten(Weightless):
    """(N, C, H, W) -> (N, C*H*W), channel by channel."""

    computes = False

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(map_of(shape)),)


@dataclass(frozen=True)
class Linear(Leaf):
    """x @ weight.T + bias; weight (out_features, in_features)."""

    in_features: int
    out_features: int
    _: KW_ONLY
    bias: bool

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise Misfit("takes vectors, gets maps (C, H, W): flatten them first")
        if shape != (self.in_features,):
            kind = TooSmall if shape[0] < self.in_features else TooLarge
            raise kind(f"takes {self.in_features} features, gets {shape[0]}")
        return (self.out_features,)

    def parameter_shapes(self) -> Shapes:
        weight = (self.out_features, self.in_features)
        return {"weight": weight} | ({"bias": (self.out_features,)} if self.bias else {})


@dataclass(frozen=True, kw_only=True)
class Dropout(Elementwise):
    """Zeroes each value with probability `rate` and divides the rest by 1 - rate, in training only."""

    rate: float


@dataclass(frozen=True)
class Softmax(Elementwise):
    """exp(x) / sum(exp(x)) over the classes, which are the channels of a map."""
