"""Containers and composites: the nodes that hold other nodes.

A container only runs its children in order. A composite combines what its branches make of its input,
and each backend writes it by hand; here `branches` says which leaves they are made of, under which
names, in the order in which they run. Names, shapes, counts and the NumPy reference follow from that.
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
    MaxPool,
    ReLU,
    Sigmoid,
)

Chain = tuple[tuple[str, "Node"], ...]  # named nodes, one after the other; the empty one passes its input on


@dataclass(frozen=True)
class Sequential:
    """Container: named nodes, one after the other."""

    children: Chain

    @property
    def branches(self) -> tuple[Chain, ...]:
        return (self.children,)


@dataclass(frozen=True)
class SqueezeExcitation:
    """Scales each channel by a gate in (0, 1) computed from all channel means (Hu et al. 2018, section 3).

    (N, C, H, W) -> pool, fc1 (C -> hidden), ReLU, fc2 (hidden -> C), sigmoid -> x * gate.
    """

    channels: int
    hidden_channels: int
    bias: bool

    @property
    def branches(self) -> tuple[Chain, ...]:
        """The input and its gate; their product has the composite's own name."""
        gate = (
            ("pool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("fc1", Linear(self.channels, self.hidden_channels, self.bias)),
            ("relu", ReLU()),
            ("fc2", Linear(self.hidden_channels, self.channels, self.bias)),
            ("sigmoid", Sigmoid()),
        )
        return (), gate


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
    def branches(self) -> tuple[Chain, ...]:
        """The input and the new channels; their concatenation has the composite's own name."""
        channels, new = self.in_channels, list[tuple[str, Node]]()
        kernels = [(self.growth_rate, 3)]
        if self.bn_size is not None:
            kernels.insert(0, (self.bottleneck_channels, 1))
        for i, (out_channels, kernel_size) in enumerate(kernels, start=1):
            conv = Conv(channels, out_channels, kernel_size, 1, kernel_size // 2, self.bias)
            new += [
                (f"norm{i}", BatchNorm(channels, self.eps, self.decay)),
                (f"relu{i}", ReLU()),
                (f"conv{i}", conv),
            ]
            channels = out_channels
        if self.squeeze_excitation is not None:
            new.append(("se", self.squeeze_excitation))
        if self.dropout > 0:
            new.append(("dropout", Dropout(self.dropout)))
        return (), tuple(new)


@dataclass(frozen=True)
class DenseBlock:
    """Container: dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""

    layers: tuple[DenseLayer, ...]

    @property
    def children(self) -> Chain:
        return tuple((f"denselayer{i}", layer) for i, layer in enumerate(self.layers, start=1))

    @property
    def branches(self) -> tuple[Chain, ...]:
        return (self.children,)


@dataclass(frozen=True)
class Transition:
    """Compresses and halves: BN-ReLU-1x1-average pool 2x2 (Huang et al. 2017, section 3)."""

    in_channels: int
    out_channels: int
    bias: bool
    eps: float
    decay: float

    @property
    def branches(self) -> tuple[Chain, ...]:
        chain = (
            ("norm", BatchNorm(self.in_channels, self.eps, self.decay)),
            ("relu", ReLU()),
            ("conv", Conv(self.in_channels, self.out_channels, 1, 1, 0, self.bias)),
            ("pool", AvgPool(2, 2)),
        )
        return (chain,)


@dataclass(frozen=True)
class Residual:
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3).

    The first convolution and the shortcut have the stride. `projection` puts a 1x1 convolution into the
    shortcut, `projection_norm` a batch norm behind it. Squeeze-and-excitation, where present, acts on
    the branch before the sum.
    """

    in_channels: int
    out_channels: int
    stride: int
    bias: bool
    projection: bool
    projection_norm: bool
    squeeze_excitation: SqueezeExcitation | None
    eps: float
    decay: float

    @property
    def branches(self) -> tuple[Chain, ...]:
        """The branch and the shortcut; the ReLU of their sum has the composite's own name."""
        norm = BatchNorm(self.out_channels, self.eps, self.decay)
        branch: Chain = (
            ("conv1", Conv(self.in_channels, self.out_channels, 3, self.stride, 1, self.bias)),
            ("bn1", norm),
            ("relu1", ReLU()),
            ("conv2", Conv(self.out_channels, self.out_channels, 3, 1, 1, self.bias)),
            ("bn2", norm),
        )
        if self.squeeze_excitation is not None:
            branch += (("se", self.squeeze_excitation),)
        if not self.projection:
            return branch, ()
        shortcut: Chain = (("0", Conv(self.in_channels, self.out_channels, 1, self.stride, 0, self.bias)),)
        if self.projection_norm:
            shortcut += (("1", norm),)
        return branch, (("downsample", Sequential(shortcut)),)


@dataclass(frozen=True)
class Inception:
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b).

    1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1. A ReLU ends each branch; the paper has one
    after the reducing 1x1 convolutions too.
    """

    in_channels: int
    branch1: int
    branch2: tuple[int, int]
    branch3: tuple[int, int]
    branch4: int
    bias: bool

    @property
    def out_channels(self) -> int:
        return self.branch1 + self.branch2[1] + self.branch3[1] + self.branch4

    @property
    def branches(self) -> tuple[Chain, ...]:
        """The four branches; their concatenation has the composite's own name."""
        C, bias = self.in_channels, self.bias
        return (
            (("conv1", Conv(C, self.branch1, 1, 1, 0, bias)), ("relu1", ReLU())),
            (
                ("reduce2", Conv(C, self.branch2[0], 1, 1, 0, bias)),
                ("conv2", Conv(*self.branch2, 3, 1, 1, bias)),
                ("relu2", ReLU()),
            ),
            (
                ("reduce3", Conv(C, self.branch3[0], 1, 1, 0, bias)),
                ("conv3", Conv(*self.branch3, 5, 1, 2, bias)),
                ("relu3", ReLU()),
            ),
            (("pool4", MaxPool(3, 1, 1)), ("conv4", Conv(C, self.branch4, 1, 1, 0, bias)), ("relu4", ReLU())),
        )


Container = Sequential | DenseBlock
Composite = Sequential | DenseBlock | DenseLayer | SqueezeExcitation | Transition | Residual | Inception
Node = Leaf | Composite


def branches(node: Node) -> tuple[Chain, ...]:
    """The chains that each start from the node's input; a leaf has only the empty one."""
    return ((),) if isinstance(node, Leaf) else node.branches


def children(node: Node) -> Chain:
    """(name, node) of each child, branch after branch; a leaf has none."""
    return tuple(child for chain in branches(node) for child in chain)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yields (dotted path, node) in the order in which outputs appear: children, then their parent.

    The root itself, whose path would be empty, is left out.
    """
    for name, child in children(node):
        yield from walk(child, f"{path}.{name}" if path else name)
    if path:
        yield path, node
