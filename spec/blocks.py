"""Containers and composites: the nodes that hold other nodes.

A container only runs its children in order. A composite does something more with them, and each
backend writes it by hand; here `children` says which leaves it is made of, under which names, in
the order in which they run. Names, shapes, counts and the NumPy reference all follow from that.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from spec.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Leaf,
    Linear,
    ReLU,
    Sigmoid,
)


@dataclass(frozen=True)
class Sequential:
    """Container: named children, one after the other."""

    children: tuple[tuple[str, "Node"], ...]


@dataclass(frozen=True)
class SqueezeExcitation:
    """Scales each channel by a gate in (0, 1) computed from all channel means (Hu et al. 2018, section 3).

    (N, C, H, W) -> pool, fc1 (C -> hidden), ReLU, fc2 (hidden -> C), sigmoid -> x * gate.
    """

    channels: int
    hidden_channels: int
    bias: bool

    @property
    def children(self) -> tuple[tuple[str, Leaf], ...]:
        """The gate's layers; the product with the input has the composite's own name."""
        return (
            ("pool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("fc1", Linear(self.channels, self.hidden_channels, self.bias)),
            ("relu", ReLU()),
            ("fc2", Linear(self.hidden_channels, self.channels, self.bias)),
            ("sigmoid", Sigmoid()),
        )


@dataclass(frozen=True)
class DenseLayer:
    """Appends growth_rate channels to its input: (N, C, H, W) -> (N, C + k, H, W) (Huang et al. 2017, section 3).

    With a bottleneck BN-ReLU-1x1, BN-ReLU-3x3 ("DenseNet-B"); without (`bn_size` is None) BN-ReLU-3x3.
    Squeeze-and-excitation and dropout, where present, act on the new channels before the concatenation.
    """

    in_channels: int
    growth_rate: int
    bn_size: int | None
    bias: bool
    dropout: float
    squeeze_excitation: SqueezeExcitation | None
    eps: float
    decay: float

    @property
    def out_channels(self) -> int:
        return self.in_channels + self.growth_rate

    @property
    def bottleneck_channels(self) -> int:
        """Channels between the 1x1 and the 3x3 convolution: bn_size * growth_rate."""
        return (self.bn_size or 0) * self.growth_rate

    @property
    def children(self) -> tuple[tuple[str, "Node"], ...]:
        """The layers that make the new channels; the concatenation has the composite's own name."""
        channels, nodes = self.in_channels, list[tuple[str, Node]]()
        kernels = [(self.growth_rate, 3)]
        if self.bn_size is not None:
            kernels.insert(0, (self.bottleneck_channels, 1))
        for i, (out_channels, kernel_size) in enumerate(kernels, start=1):
            conv = Conv(channels, out_channels, kernel_size, 1, kernel_size // 2, self.bias)
            nodes += [
                (f"norm{i}", BatchNorm(channels, self.eps, self.decay)),
                (f"relu{i}", ReLU()),
                (f"conv{i}", conv),
            ]
            channels = out_channels
        if self.squeeze_excitation is not None:
            nodes.append(("se", self.squeeze_excitation))
        if self.dropout > 0:
            nodes.append(("dropout", Dropout(self.dropout)))
        return tuple(nodes)


@dataclass(frozen=True)
class DenseBlock:
    """Container: dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""

    layers: tuple[DenseLayer, ...]

    @property
    def children(self) -> tuple[tuple[str, DenseLayer], ...]:
        return tuple((f"denselayer{i}", layer) for i, layer in enumerate(self.layers, start=1))


@dataclass(frozen=True)
class Transition:
    """Compresses and halves: BN-ReLU-1x1-average pool 2x2 (Huang et al. 2017, section 3)."""

    in_channels: int
    out_channels: int
    bias: bool
    eps: float
    decay: float

    @property
    def children(self) -> tuple[tuple[str, Leaf], ...]:
        return (
            ("norm", BatchNorm(self.in_channels, self.eps, self.decay)),
            ("relu", ReLU()),
            ("conv", Conv(self.in_channels, self.out_channels, 1, 1, 0, self.bias)),
            ("pool", AvgPool(2, 2)),
        )


Composite = Sequential | SqueezeExcitation | DenseLayer | DenseBlock | Transition
Node = Leaf | Composite


def children(node: Node) -> tuple[tuple[str, Node], ...]:
    """(name, node) of each child in the order in which they run; a leaf has none."""
    return getattr(node, "children", ())


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yields (dotted path, node) in the order in which outputs appear: children, then their parent.

    The root itself, whose path would be empty, is left out.
    """
    for name, child in children(node):
        yield from walk(child, f"{path}.{name}" if path else name)
    if path:
        yield path, node
