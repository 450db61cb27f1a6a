"""What a network costs, layer by layer, computed from the spec alone."""

from dataclasses import dataclass
from math import prod

from spec.network import Network
from spec.parameters import is_buffer
from spec.shapes import Shape
from spec.tree import Node, children, join, output_shapes

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Figures:
    """One row of the layer table. A row that contains others has the sums over all of them.

    `output_shape` is per image: (C, H, W) or (features,). `parameters` are trainable, `buffers`
    running means and variances. `multiply_adds` counts those of convolutions and linear layers, one for
    each weight and output pixel, biases and all else left out. `activation_bytes` is the float32 memory of
    every tensor computed for one image, nothing reused; Flatten and the containers compute none.
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


def analyze(network: Network, input_shape: Shape | None = None) -> list[Figures]:
    """The layer table for one (C, H, W) image, in the order in which outputs appear.

    The last row is the whole network's: its path is empty and its figures are the totals.
    """
    input_shape = input_shape or network.input_shape
    network.check_input_shape(input_shape)
    rows: dict[str, Figures] = {}
    for path, node, shape in output_shapes(network.root, input_shape):
        rows[path] = _figures(path, node, shape, [rows[join(path, name)] for name, _ in children(node)])
    return list(rows.values())


def total(network: Network, input_shape: Shape | None = None) -> Figures:
    """The figures of the whole network."""
    return analyze(network, input_shape)[-1]


def _figures(path: str, node: Node, output: Shape, parts: list[Figures]) -> Figures:
    """The row of `node`: its own figures and those of its children."""
    own = node.parameter_shapes()
    buffers = sum(prod(dims) for name, dims in own.items() if is_buffer(name))
    weights = sum(prod(dims) for dims in own.values() if len(dims) > 1)
    return Figures(
        path=path,
        kind=type(node).__name__,
        output_shape=output,
        parameters=sum(map(prod, own.values())) - buffers + sum(part.parameters for part in parts),
        buffers=buffers + sum(part.buffers for part in parts),
        multiply_adds=weights * prod(output[1:]) + sum(part.multiply_adds for part in parts),
        activation_bytes=BYTES * prod(output) * node.computes + sum(part.activation_bytes for part in parts),
    )
