"""Leaf nodes: one layer each, with every number written out.

A leaf says what is computed, never how. Feature maps are (N, C, H, W), vectors are (N, features).
Kernels, strides and paddings are square; padding is symmetric and explicit.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """2-D cross-correlation; weight (out_channels, in_channels, kernel_size, kernel_size)."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    bias: bool


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalization over N, H, W (Ioffe & Szegedy 2015).

    `decay` is the share of the old running statistic that an update keeps: torch's momentum is
    `1 - decay`, Keras' and Gluon's is `decay`. The batch variance that normalizes is biased (1/n);
    the one that enters `running_var` is unbiased (1/(n-1)) in torch and biased in Keras and Gluon.
    """

    channels: int
    eps: float
    decay: float


@dataclass(frozen=True)
class ReLU:
    """max(x, 0)."""


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows that lie wholly inside the padded map; padding counts as -infinity."""

    kernel_size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows that lie wholly inside the map; no padding."""

    kernel_size: int
    stride: int


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over H and W, which stay as axes of length 1: (N, C, 1, 1)."""


@dataclass(frozen=True)
class Flatten:
    """(N, C, H, W) -> (N, C*H*W), channel by channel."""


@dataclass(frozen=True)
class Linear:
    """x @ weight.T + bias; weight (out_features, in_features)."""

    in_features: int
    out_features: int
    bias: bool


@dataclass(frozen=True)
class Dropout:
    """Zeroes each value with probability `rate` and divides the rest by 1 - rate, in training only."""

    rate: float


@dataclass(frozen=True)
class Softmax:
    """exp(x) / sum(exp(x)) over the classes."""


Leaf = Conv | BatchNorm | ReLU | Sigmoid | MaxPool | AvgPool | GlobalAvgPool | Flatten | Linear | Dropout | Softmax
