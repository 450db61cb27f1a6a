"""Output shapes of every node, per image: (C, H, W) for maps, (features,) for vectors."""

from functools import singledispatch

from spec import layers
from spec.blocks import Chain, DenseLayer, Inception, Node, Residual, SqueezeExcitation, branches

Shape = tuple[int, ...]


class TooSmall(ValueError):
    """A map would have no pixel left, or a linear layer too few features."""


class Misfit(ValueError):
    """A linear layer would get more features than it has weights for."""


@singledispatch
def output_shape(node: Node, shape: Shape) -> Shape:
    """The shape that `node` makes of an input of `shape`: for a container, what its chain makes of it.

    Raises TooSmall or Misfit where `node` cannot take that input.
    """
    (chain,) = branches(node)
    return _through(chain, shape)


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
    (features,) = shape
    if features != node.in_features:
        raise TooSmall if features < node.in_features else Misfit
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


@output_shape.register
def _(node: Residual, shape: Shape) -> Shape:
    branch, _ = branches(node)
    return _through(branch, shape)


@output_shape.register
def _(node: Inception, shape: Shape) -> Shape:
    return (node.out_channels, *shape[1:])


def _through(chain: Chain, shape: Shape) -> Shape:
    for _, node in chain:
        shape = output_shape(node, shape)
    return shape


def _windows(size: Shape, kernel_size: int, stride: int, padding: int) -> Shape:
    """How many windows fit along each axis: floor((n + 2p - k) / s) + 1."""
    counts = tuple((n + 2 * padding - kernel_size) // stride + 1 for n in size)
    if min(counts) < 1:
        raise TooSmall
    return counts
