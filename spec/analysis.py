"""What a network costs, layer by layer, computed from the spec alone."""

from dataclasses import dataclass
from functools import singledispatch
from math import prod

from spec.blocks import Node, branches, children
from spec.layers import Conv, Flatten, Linear
from spec.network import Network
from spec.parameters import is_buffer, leaf_shapes
from spec.shapes import Shape, output_shape

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Layer:
    """One row of the layer table. A composite's figures are the sums over all it contains.

    `output_shape` is per image: (C, H, W) or (features,). `parameters` are trainable, `buffers`
    running means and variances. `multiply_adds` counts those of convolutions and linear layers,
    biases and all else left out. `activation_bytes` is the float32 memory of every tensor computed
    for one image, nothing reused; Flatten and the containers compute none.
    """

    path: str
    kind: str
    output_shape: Shape
    parameters: int
    buffers: int
    multiply_adds: int
    activation_bytes: int

    @property
    def depth(self) -> int:
        """1 for the network's own children, 2 for theirs, and so on."""
        return self.path.count(".") + 1


def analyze(network: Network, input_shape: Shape | None = None) -> list[Layer]:
    """The layer table for one (C, H, W) image, in the order in which outputs appear.

    The last row is the whole network's: its path is empty and its figures are the totals.
    """
    input_shape = input_shape or network.input_shape
    network.check_input_shape(input_shape)
    rows: list[Layer] = []
    _analyze(network.root, "", input_shape, rows)
    return rows


def total(network: Network, input_shape: Shape | None = None) -> Layer:
    """The figures of the whole network."""
    return analyze(network, input_shape)[-1]


def _analyze(node: Node, path: str, shape: Shape, rows: list[Layer]) -> Layer:
    """Appends the rows of `node`, children first, and returns its own."""
    parts = []
    for chain in branches(node):
        inner = shape
        for name, child in chain:
            parts.append(_analyze(child, f"{path}.{name}" if path else name, inner, rows))
            inner = parts[-1].output_shape
    out = output_shape(node, shape) if _combines(node) else inner
    own = {name: prod(dims) for name, dims in leaf_shapes(node).items()}
    row = Layer(
        path=path,
        kind=type(node).__name__,
        output_shape=out,
        parameters=sum(n for name, n in own.items() if not is_buffer(name)) + sum(p.parameters for p in parts),
        buffers=sum(n for name, n in own.items() if is_buffer(name)) + sum(p.buffers for p in parts),
        multiply_adds=multiply_adds(node, out) + sum(p.multiply_adds for p in parts),
        activation_bytes=BYTES * prod(out) * (_combines(node) and not isinstance(node, Flatten))
        + sum(p.activation_bytes for p in parts),
    )
    rows.append(row)
    return row


def _combines(node: Node) -> bool:
    """Whether a node's output is more than what its last child puts out."""
    return len(branches(node)) > 1 or not children(node)


@singledispatch
def multiply_adds(node: Node, shape: Shape) -> int:
    """Multiply-adds of one leaf for one image, given its output shape."""
    return 0


@multiply_adds.register
def _(node: Conv, shape: Shape) -> int:
    return prod(shape) * node.in_channels * node.kernel_size**2


@multiply_adds.register
def _(node: Linear, shape: Shape) -> int:
    return node.out_features * node.in_features
