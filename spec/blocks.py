"""Containers, parallel nodes and composites: the nodes that hold other nodes.

`branches` says which leaves they are made of, under which names, in the order in which they run. Names,
shapes, counts and the NumPy reference follow from that; each backend writes the composites by hand.
"""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from spec.layers import AvgPool, BatchNorm, Conv, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU, Sigmoid
from spec.shapes import Misfit, Shape, by
from spec.tree import Chain, Chained, Composite, Container, Node, Parallel


@dataclass(frozen=True)
class Sequential(Container):
    """Container: named nodes, one after the other."""

    children: Chain


def sequence(**nodes: Node) -> Sequential:
    """One node after the other, under their names."""
    return Sequential(tuple(nodes.items()))


def numbered(*nodes: Node) -> Sequential:
    """One node after the other, named 0, 1, 2 ... as in a torch Sequential."""
    return Sequential(tuple((str(i), node) for i, node in enumerate(nodes)))


@dataclass(frozen=True)
class Concatenation(Parallel):
    """What chains side by side put out, concatenated: a dense layer of any layers."""

    def output_shape(self, *ends: Shape) -> Shape:
        return concatenated(*ends)


@dataclass(frozen=True)
class RectifiedSum(Parallel):
    """relu of the sum of what chains side by side put out: a residual block of any layers."""

    def output_shape(self, *ends: Shape) -> Shape:
        return added(*ends)


@dataclass(frozen=True)
class SqueezeExcitation(Composite):
    """Scales each channel by a gate in (0, 1) computed from all channel means (Hu et al. 2018, section 3).

    (N, C, H, W) -> pool, fc1 (C -> hidden), ReLU, fc2 (hidden -> C), sigmoid -> x * gate.
    """

    channels: int
    hidden_channels: int
    _: KW_ONLY
    bias: bool

    @cached_property
    def branches(self) -> tuple[Chain, ...]:
        """The input and its gate; their product has the composite's own name."""
        gate = (
            ("pool", GlobalAvgPool()),
            ("flatten", Flatten()),
            ("fc1", Linear(self.channels, self.hidden_channels, bias=self.bias)),
            ("relu", ReLU()),
            ("fc2", Linear(self.hidden_channels, self.channels, bias=self.bias)),
            ("sigmoid", Sigmoid()),
        )
        return (), gate

    def output_shape(self, x: Shape, gate: Shape) -> Shape:
        return x


@dataclass(frozen=True)
class DenseLayer(Composite):
    """Appends growth_rate channels to its input: (N, C, H, W) -> (N, C + k, H, W) (Huang et al. 2017, section 3).

    With a bottleneck BN-ReLU-1x1, BN-ReLU-3x3 ("DenseNet-B"); without (`bn_size` is None) BN-ReLU-3x3.
    Squeeze-and-excitation and dropout, where present, act on the new channels before the concatenation.
    """

    in_channels: int
    growth_rate: int
    _: KW_ONLY
    bn_size: int | None
    bias: bool
    dropout: float
    squeeze_excitation: SqueezeExcitation | None
    eps: float
    decay: float

    @property
    def bottleneck_channels(self) -> int | None:
        """Channels between the 1x1 and the 3x3 convolution, bn_size * growth_rate; None without a bottleneck."""
        return None if self.bn_size is None else self.bn_size * self.growth_rate

    @cached_property
    def branches(self) -> tuple[Chain, ...]:
        """The input and the new channels; their concatenation has the composite's own name."""
        C, B, k = self.in_channels, self.bottleneck_channels, self.growth_rate
        new: Chain = (("norm1", BatchNorm(C, eps=self.eps, decay=self.decay)), ("relu1", ReLU()))
        if B is None:
            new += (("conv1", Conv(C, k, kernel_size=3, stride=1, padding=1, bias=self.bias)),)
        else:
            new += (
                ("conv1", Conv(C, B, kernel_size=1, stride=1, padding=0, bias=self.bias)),
                ("norm2", BatchNorm(B, eps=self.eps, decay=self.decay)),
                ("relu2", ReLU()),
                ("conv2", Conv(B, k, kernel_size=3, stride=1, padding=1, bias=self.bias)),
            )
        if self.squeeze_excitation is not None:
            new += (("se", self.squeeze_excitation),)
        if self.dropout:
            new += (("dropout", Dropout(rate=self.dropout)),)
        return (), new

    def output_shape(self, x: Shape, new: Shape) -> Shape:
        return concatenated(x, new)


@dataclass(frozen=True)
class DenseBlock(Container):
    """Container: dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""

    layers: tuple[DenseLayer, ...]

    @cached_property
    def children(self) -> Chain:  # type: ignore[override]
        return tuple((f"denselayer{i}", layer) for i, layer in enumerate(self.layers, start=1))


@dataclass(frozen=True)
class Transition(Chained, Composite):
    """Compresses and halves: BN-ReLU-1x1-average pool 2x2 (Huang et al. 2017, section 3)."""

    in_channels: int
    out_channels: int
    _: KW_ONLY
    bias: bool
    eps: float
    decay: float

    @cached_property
    def branches(self) -> tuple[Chain, ...]:
        C, out = self.in_channels, self.out_channels
        chain = (
            ("norm", BatchNorm(C, eps=self.eps, decay=self.decay)),
            ("relu", ReLU()),
            ("conv", Conv(C, out, kernel_size=1, stride=1, padding=0, bias=self.bias)),
            ("pool", AvgPool(kernel_size=2, stride=2)),
        )
        return (chain,)


@dataclass(frozen=True)
class Residual(Composite):
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3).

    The first convolution and the shortcut have the stride. `projection` puts a 1x1 convolution into the
    shortcut, `projection_norm` a batch norm behind it. Squeeze-and-excitation, where present, acts on
    the branch before the sum.
    """

    in_channels: int
    out_channels: int
    _: KW_ONLY
    stride: int
    bias: bool
    projection: bool
    projection_norm: bool
    squeeze_excitation: SqueezeExcitation | None
    eps: float
    decay: float

    @cached_property
    def branches(self) -> tuple[Chain, ...]:
        """The branch and the shortcut; the ReLU of their sum has the composite's own name."""
        C, out, stride = self.in_channels, self.out_channels, self.stride
        norm = BatchNorm(out, eps=self.eps, decay=self.decay)
        branch: Chain = (
            ("conv1", Conv(C, out, kernel_size=3, stride=stride, padding=1, bias=self.bias)),
            ("bn1", norm),
            ("relu1", ReLU()),
            ("conv2", Conv(out, out, kernel_size=3, stride=1, padding=1, bias=self.bias)),
            ("bn2", norm),
        )
        if self.squeeze_excitation is not None:
            branch += (("se", self.squeeze_excitation),)
        if not self.projection:
            return branch, ()
        projection = Conv(C, out, kernel_size=1, stride=stride, padding=0, bias=self.bias)
        downsample = numbered(projection, norm) if self.projection_norm else numbered(projection)
        return branch, (("downsample", downsample),)

    def output_shape(self, branch: Shape, shortcut: Shape) -> Shape:
        return added(branch, shortcut)


@dataclass(frozen=True)
class Inception(Composite):
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b).

    1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1. A ReLU ends each branch; the paper has one
    after the reducing 1x1 convolutions too.
    """

    in_channels: int
    _: KW_ONLY
    branch1: int
    branch2: tuple[int, int]
    branch3: tuple[int, int]
    branch4: int
    bias: bool

    @property
    def out_channels(self) -> int:
        return self.branch1 + self.branch2[1] + self.branch3[1] + self.branch4

    @cached_property
    def branches(self) -> tuple[Chain, ...]:
        """The four branches; their concatenation has the composite's own name."""
        C, (reduced2, out2), (reduced3, out3), bias = self.in_channels, self.branch2, self.branch3, self.bias
        return (
            (("conv1", Conv(C, self.branch1, kernel_size=1, stride=1, padding=0, bias=bias)), ("relu1", ReLU())),
            (
                ("reduce2", Conv(C, reduced2, kernel_size=1, stride=1, padding=0, bias=bias)),
                ("conv2", Conv(reduced2, out2, kernel_size=3, stride=1, padding=1, bias=bias)),
                ("relu2", ReLU()),
            ),
            (
                ("reduce3", Conv(C, reduced3, kernel_size=1, stride=1, padding=0, bias=bias)),
                ("conv3", Conv(reduced3, out3, kernel_size=5, stride=1, padding=2, bias=bias)),
                ("relu3", ReLU()),
            ),
            (
                ("pool4", MaxPool(kernel_size=3, stride=1, padding=1)),
                ("conv4", Conv(C, self.branch4, kernel_size=1, stride=1, padding=0, bias=bias)),
                ("relu4", ReLU()),
            ),
        )

    def output_shape(self, *ends: Shape) -> Shape:
        return concatenated(*ends)


def concatenated(*maps: Shape) -> Shape:
    """Maps of one size, put side by side along their channels."""
    sizes = {shape[1:] for shape in maps}
    if len(sizes) > 1:
        raise Misfit(f"concatenates maps of different sizes: {', '.join(map(by, maps))}")
    return (sum(shape[0] for shape in maps), *maps[0][1:])


def added(branch: Shape, *shortcuts: Shape) -> Shape:
    """Maps of one shape, added."""
    for shortcut in shortcuts:
        if branch != shortcut:
            raise Misfit(f"adds a branch of {by(branch)} to a shortcut of {by(shortcut)}: it needs a projection")
    return branch
