"""The networks that shapes, names, counts and outputs are compared on.

Small ones that between them have every option, every kind of node and every branch of each composite,
and each variant at an input size that keeps the run short.
"""

from dataclasses import dataclass
from typing import Any

import spec
from spec.blocks import Inception, Residual, SqueezeExcitation
from spec.layers import BatchNorm, Conv, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool, ReLU, Softmax
from spec.tree import Node

BASE: dict[str, Any] = {
    "growth_rate": 4,
    "block_config": [2, 3],
    "stem": {"channels": 6},
    "num_classes": 5,
    "input_size": 40,
}


def small(**fields: Any) -> spec.Network:
    """A network of two dense blocks with some fields replaced."""
    return spec.build(spec.DenseNetConfig(**BASE | fields), "small")


def squeezed(*placement: str, ratio: int = 2, bias: bool = True) -> dict[str, Any]:
    return {"squeeze_excitation": {"placement": list(placement), "ratio": ratio, "bias": bias}}


SMALL = {
    "plain": small(),
    "bottleneck": small(bn_size=4),
    "compressed": small(bn_size=2, compression=0.3),
    "biased": small(bn_size=4, conv_bias=True),
    "dropout": small(bn_size=4, dropout=0.5),
    "se_layer": small(**squeezed("layer")),
    "se_block_transition": small(bn_size=4, **squeezed("block", "transition", ratio=3, bias=False)),
    "se_final": small(**squeezed("final")),
    "se_everywhere": small(bn_size=4, dropout=0.1, **squeezed("layer", "block", "transition", "final")),
    "bare_stem": small(stem={"kernel_size": 3, "stride": 1, "padding": 1, "norm": False, "pool": False}, input_size=8),
    # Without padding, where Keras has "same" for a 3x3 kernel that has it.
    "pool_on_negatives": small(stem={"channels": 6, "kernel_size": 3, "stride": 1, "padding": 0, "norm": False}),
    "normed_stem": small(stem={"channels": 6, "pool": False}),
    "even_kernel": small(stem={"channels": 6, "kernel_size": 4, "stride": 3, "padding": 2}),
    "one_block": small(block_config=[2]),
    "deep": small(block_config=[1, 1, 2, 1], input_size=64),
    "five_channels": small(in_channels=5),
    "eps": small(eps=1e-2),
    "softmax": small(classifier_activation="softmax"),
}


def tiny(size: int, *nodes: tuple[str, Node]) -> spec.Network:
    """A network of nodes that no config makes this small."""
    return spec.Network("tiny", spec.Sequential(nodes), (3, size, size), num_classes=5)


def pooled(channels: int, *nodes: tuple[str, Node]) -> spec.Network:
    """Nodes that end in `channels` maps, and a head."""
    head = [("pool", GlobalAvgPool()), ("flatten", Flatten()), ("classifier", Linear(channels, 5, bias=True))]
    return tiny(16, *nodes, *head)


def residual(in_channels: int, out_channels: int, **options: Any) -> Residual:
    """A residual block with a projecting shortcut where channels or the stride change."""
    projection = options.get("stride", 1) > 1 or in_channels != out_channels
    defaults = {"stride": 1, "bias": True, "projection_norm": False, "squeeze_excitation": None}
    return Residual(in_channels, out_channels, projection=projection, eps=1e-5, decay=0.9, **defaults | options)


CONV = ("conv", Conv(3, 4, kernel_size=3, stride=1, padding=1, bias=True))
CLASSIC = {
    "residual": pooled(4, CONV, ("layer1", residual(4, 4)), ("layer2", residual(4, 4, bias=False))),
    "residual_strided": pooled(6, CONV, ("layer1", residual(4, 6, stride=2))),
    "residual_normed": pooled(4, CONV, ("layer1", residual(4, 4, stride=2, projection_norm=True, bias=False))),
    "residual_squeezed": pooled(
        6, CONV, ("layer1", residual(4, 6, squeeze_excitation=SqueezeExcitation(6, 3, bias=True)))
    ),
    # No ReLU before it: the pool of the fourth branch meets negative values at the border.
    "inception": pooled(
        14,
        CONV,
        ("a", Inception(4, branch1=2, branch2=(3, 4), branch3=(2, 3), branch4=5, bias=True)),
        ("b", Inception(14, branch1=3, branch2=(2, 5), branch3=(3, 2), branch4=4, bias=True)),
    ),
    # Flattens 5 x 3 x 3 values: channel by channel, whatever the framework's layout.
    "flattened": tiny(
        7,
        (
            "features",
            spec.Sequential(
                (
                    ("conv", Conv(3, 5, kernel_size=2, stride=1, padding=0, bias=True)),
                    ("pool", MaxPool(kernel_size=2, stride=2, padding=0)),
                )
            ),
        ),
        ("flatten", Flatten()),
        (
            "classifier",
            spec.Sequential(
                (
                    ("fc1", Linear(45, 6, bias=True)),
                    ("relu", ReLU()),
                    ("drop", Dropout(rate=0.5)),
                    ("fc2", Linear(6, 5, bias=False)),
                )
            ),
        ),
    ),
    "norm_after_relu": pooled(
        4,
        CONV,
        ("relu", ReLU()),
        ("norm", BatchNorm(4, eps=1e-5, decay=0.9)),
        ("pool1", MaxPool(kernel_size=3, stride=2, padding=0)),
    ),
    # Over the channels of a map, wherever a framework has them.
    "softmax_inside": pooled(4, CONV, ("softmax", Softmax()), ("pool1", MaxPool(kernel_size=2, stride=2, padding=0))),
}
SMALL |= CLASSIC


@dataclass(frozen=True)
class Case:
    """A network and the (C, H, W) it is run on."""

    network: spec.Network
    input_shape: tuple[int, int, int]


def _oblong(network: spec.Network) -> Case:
    """An odd height and an even width, so that the two are not confused and padding shows."""
    channels, height, width = network.input_shape
    if network.max_size is not None:
        return Case(network, (channels, network.min_size, network.max_size))
    return Case(network, (channels, height + 1, width + 4))


# Sizes that leave 2x2 or 4x4 at the end, so that a run is short but space still counts.
SIZES = {"lenet": 32, "alexnet": 128, "nin": 96}


def _variant(name: str) -> Case:
    network = spec.variant(name)
    size = SIZES.get(name, 16 if network.input_shape[1] == 32 else 64)
    return Case(spec.variant(name, input_size=size), (network.in_channels, size, size))


CASES = {name: _oblong(network) for name, network in SMALL.items()}
VARIANTS = {name: _variant(name) for name in spec.names()}
