"""Output shapes of every node, per image: (C, H, W) for maps, (features,) for vectors."""

from functools import singledispatch

from spec import layers
from spec.blocks import DenseLayer, Node, SqueezeExcitation, children

Shape = tuple[int, ...]


class TooSmall(ValueError):
    """A map would have no pixel left."""


@singledispatch
def output_shape(node: Node, shape: Shape) -> Shape:
    """The shape that `node` makes of an input of `shape`; raises TooSmall when nothing would be left."""
    for _, child in children(node):
        shape = output_shape(child, shape)
    return shape


@output_shape.register
def _(node: layers.Conv, shape: Shape) -> Shape:
    return (node.out_channels, *_windows(shape[1:], node.kernel_size, node.stride, node.padding))


@output_shape.register
def _(node: layers.MaxPool, shape: Shape) -> Shape:
    return (shape[0], *_windows(shape[1:], node.kernel_size, node.stride, node.padding))


@output_shape.register
def _(node: layers.AvgPool, shape: Shape) -> Shape:
    return (shape[0], *_windows(shape[1:], node.kernel_size, node.stride, 0))


@output_shape.register
def _(node: layers.GlobalAvgPool, shape: Shape) -> Shape:
    return (shape[0], 1, 1)


@output_shape.register
def _(node: layers.Flatten, shape: Shape) -> Shape:
    channels, height, width = shape
    return (channels * height * width,)


@output_shape.register
def _(node: layers.Linear, shape: Shape) -> Shape:
    return (node.out_features,)


@output_shape.register(layers.BatchNorm)
@output_shape.register(layers.ReLU)
@output_shape.register(layers.Sigmoid)
@output_shape.register(layers.Dropout)
@output_shape.register(layers.Softmax)
@output_shape.register(SqueezeExcitation)
def _(node: Node, shape: Shape) -> Shape:
    return shape


@output_shape.register
def _(node: DenseLayer, shape: Shape) -> Shape:
    return (node.out_channels, *shape[1:])


def _windows(size: Shape, kernel_size: int, stride: int, padding: int) -> Shape:
    """How many windows fit along each axis: floor((n + 2p - k) / s) + 1."""
    counts = tuple((n + 2 * padding - kernel_size) // stride + 1 for n in size)
    if min(counts) < 1:
        raise TooSmall
    return counts
