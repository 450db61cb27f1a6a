"""Leaf nodes as PyTorch modules, every argument that frameworks default differently written out."""

from fractions import Fraction
from functools import singledispatch

from torch import nn

from spec import layers


@singledispatch
def build(node: object) -> nn.Module:
    """The module for a node of the spec."""
    raise TypeError(f"densenet_torch cannot build {node!r}: expected a node of the spec")


@build.register
def _(node: layers.Conv) -> nn.Module:
    return nn.Conv2d(
        node.in_channels,
        node.out_channels,
        kernel_size=node.kernel_size,
        stride=node.stride,
        padding=node.padding,
        bias=node.bias,
    )


@build.register
def _(node: layers.BatchNorm) -> nn.Module:
    return nn.BatchNorm2d(node.channels, eps=node.eps, momentum=momentum(node.decay))


def momentum(decay: float) -> float:
    """torch's momentum is the share of the new statistic; exactly, as floats make of 1 - 0.9 not quite 0.1."""
    return float(1 - Fraction(str(decay)))


@build.register
def _(node: layers.ReLU) -> nn.Module:
    return nn.ReLU()  # not in place: Grad-CAM hooks the output of the layer before it (torchvision's issue 4164)


@build.register
def _(node: layers.Sigmoid) -> nn.Module:
    return nn.Sigmoid()


@build.register
def _(node: layers.MaxPool) -> nn.Module:
    return nn.MaxPool2d(node.kernel_size, stride=node.stride, padding=node.padding, ceil_mode=False)


@build.register
def _(node: layers.AvgPool) -> nn.Module:
    return nn.AvgPool2d(node.kernel_size, stride=node.stride, padding=0, ceil_mode=False)


@build.register
def _(node: layers.GlobalAvgPool) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


@build.register
def _(node: layers.Flatten) -> nn.Module:
    return nn.Flatten()


@build.register
def _(node: layers.Linear) -> nn.Module:
    return nn.Linear(node.in_features, node.out_features, bias=node.bias)


@build.register
def _(node: layers.Dropout) -> nn.Module:
    return nn.Dropout(node.rate)


@build.register
def _(node: layers.Softmax) -> nn.Module:
    return nn.Softmax(dim=1)
