"""Leaf nodes as Gluon blocks, every argument that frameworks default differently written out."""

from functools import singledispatch
from typing import Any

from mxnet.gluon import HybridBlock, nn

from densenet_mxnet.arrays import on_legacy_arrays
from spec import layers


@singledispatch
def build(node: object) -> HybridBlock:
    """The block for a node of the spec."""
    raise TypeError(f"densenet_mxnet cannot build {node!r}: expected a node of the spec")


@build.register
def _(node: layers.Conv) -> HybridBlock:
    return nn.Conv2D(
        node.out_channels,
        in_channels=node.in_channels,
        kernel_size=node.kernel_size,
        strides=node.stride,
        padding=node.padding,
        use_bias=node.bias,
    )


@build.register
def _(node: layers.BatchNorm) -> HybridBlock:
    return nn.BatchNorm(in_channels=node.channels, epsilon=node.eps, momentum=node.decay)


@build.register
def _(node: layers.ReLU) -> HybridBlock:
    return nn.Activation("relu")


@build.register
def _(node: layers.Sigmoid) -> HybridBlock:
    return nn.Activation("sigmoid")


@build.register
def _(node: layers.MaxPool) -> HybridBlock:
    return nn.MaxPool2D(node.kernel_size, strides=node.stride, padding=node.padding, ceil_mode=False)


@build.register
def _(node: layers.AvgPool) -> HybridBlock:
    return nn.AvgPool2D(node.kernel_size, strides=node.stride, padding=0, ceil_mode=False)


@build.register
def _(node: layers.GlobalAvgPool) -> HybridBlock:
    return nn.GlobalAvgPool2D()


@build.register
def _(node: layers.Flatten) -> HybridBlock:
    return nn.Flatten()


@build.register
def _(node: layers.Linear) -> HybridBlock:
    return nn.Dense(node.out_features, in_units=node.in_features, flatten=False, use_bias=node.bias)


@build.register
def _(node: layers.Dropout) -> HybridBlock:
    return nn.Dropout(node.rate)


@build.register
def _(node: layers.Softmax) -> HybridBlock:
    return nn.HybridLambda(softmax)


@on_legacy_arrays
def softmax(F: Any, x: Any) -> Any:
    """Over the channels; Gluon's own is over the last axis, which is the width of a map."""
    return F.softmax(x, axis=1)


@on_legacy_arrays
def scale(F: Any, x: Any, gate: Any) -> Any:
    """Maps (N, C, H, W), each times its gate (N, C)."""
    return F.broadcast_mul(x, F.reshape(gate, (0, 0, 1, 1)))


@on_legacy_arrays
def relu(F: Any, x: Any) -> Any:
    """Without a block of its own."""
    return F.relu(x)
