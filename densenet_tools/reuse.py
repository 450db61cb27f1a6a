"""Which of the features before it a layer uses: the map of figure 5 of the DenseNet paper.

Huang, Liu, van der Maaten & Weinberger: Densely Connected Convolutional Networks. CVPR 2017, section 5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import spec
from spec.blocks import DenseBlock, SqueezeExcitation, Transition
from spec.layers import BatchNorm, Conv, Linear, Weightless
from spec.tree import Container, Node
from spec.weights import KINDS

INPUT = "input"  # of a block, its source 0
KEEPING = (Weightless, BatchNorm, SqueezeExcitation)  # what leaves each channel to itself


@dataclass(frozen=True, eq=False)
class BlockReuse:
    """A dense block's map: `values[s, t]` says how strongly target t reads source s, in float64.

    Sources are the block's input and its layers, targets its layers and what reads the whole block: a transition, a
    classifier. NaN where there is no connection: a layer reads only those before it.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    values: np.ndarray

    @property
    def rescaled(self) -> np.ndarray:
        """The values over the largest of the block, so that 1 is its strongest connection; all 0 where that is 0.

        values[s, t] / max over all s', t' of values[s', t']
        """
        largest = np.nanmax(self.values)
        return self.values / largest if largest > 0 else self.values


def feature_reuse(network: spec.Network, weights: spec.Weights) -> tuple[BlockReuse, ...]:
    """The map of each dense block, from weights under canonical names; raises SpecError where there is no block.

    With w (out, in, height, width) the weights of target t's first convolution, conv1 of a dense layer, and C_s the
    input channels that come from source s,

        values[s, t] = sum of |w[o, i, y, x]| over o, y, x and i in C_s / (out * |C_s| * height * width)

    A linear layer has height and width 1. The paper's caption says "average L1 norm (normalized by number of input
    feature-maps)", which is this times out * height * width: the same number for all layers of a block, but not for
    its last target. Its colors run from 0 to 1, and it does not say what they were divided by (its authors were asked:
    github.com/liuzhuang13/DenseNet, issues 26 and 53); `BlockReuse.rescaled` divides by the block's largest value.
    The scale that a batch norm or a gate gives a channel before the convolution is left out, as in the paper.
    """
    _check(network, weights)
    nodes = list(_chain(network.root))
    found = [_block(nodes[at:], weights) for at, (_, node) in enumerate(nodes) if _dense(node)]
    if not found:
        raise spec.SpecError(f"{network.name} has no dense block: the map of feature reuse is that of a DenseNet")
    return tuple(found)


def _check(network: spec.Network, weights: spec.Weights) -> None:
    first = next(iter(weights.values()), None) if isinstance(weights, Mapping) else None
    dtype = str(getattr(first, "dtype", None))
    spec.check_weights(weights, spec.parameter_shapes(network), dtype if dtype in KINDS else KINDS[0])


def _dense(node: Node) -> bool:
    return isinstance(node, DenseBlock) and bool(node.layers)


def _chain(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """(path, node) in the order in which they run; of containers only dense blocks are kept as a whole."""
    if isinstance(node, Container) and not _dense(node):
        for name, child in node.children:
            yield from _chain(child, spec.join(path, name))
    else:
        yield path, node


def _block(nodes: Sequence[tuple[str, Node]], weights: spec.Weights) -> BlockReuse:
    """The map of the first of the nodes; the others are what comes after it."""
    (path, block), *after = nodes
    assert isinstance(block, DenseBlock)
    names = [name for name, _ in block.children]
    widths = [block.layers[0].in_channels, *(layer.growth_rate for layer in block.layers)]
    reading = [(name, f"{path}.{name}.conv1.weight") for name in names] + _reader(after)
    values = np.full((len(widths), len(reading)), np.nan)
    for target, (_, kernel) in enumerate(reading):
        sources = widths[: target + 1]  # layer t reads those before it, what comes after the block all
        values[: len(sources), target] = _strengths(weights[kernel], sources)
    return BlockReuse(path, (INPUT, *names), tuple(name for name, _ in reading), values)


def _reader(after: Sequence[tuple[str, Node]]) -> list[tuple[str, str]]:
    """The name of what mixes the block's channels next, and that of its weight; empty where that is no one layer."""
    for path, node in after:
        name = path.rpartition(".")[2]
        if isinstance(node, Transition):
            return [(name, f"{path}.conv.weight")]
        if isinstance(node, (Conv, Linear)):
            return [(name, f"{path}.weight")]
        if not isinstance(node, KEEPING):
            break
    return []


def _strengths(weight: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """The mean absolute weight (S,) over each of S sources, which have so many of the input channels, in turn.

    Where whole maps were flattened, several columns of a linear layer belong to each channel.
    """
    each = abs(weight.astype(np.float64)).reshape(len(weight), sum(widths), -1).mean(axis=(0, 2))  # (in,)
    return np.array([part.mean() for part in np.split(each, np.cumsum(widths)[:-1])])
