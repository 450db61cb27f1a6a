"""The networks that shapes, names, counts and outputs are compared on.

Small ones that between them have every option and every kind of node, and each variant at an input
size that keeps the run short.
"""

from dataclasses import dataclass
from typing import Any

import spec

BASE: dict[str, Any] = {
    "growth_rate": 4,
    "block_config": [2, 3],
    "stem": {"channels": 6},
    "num_classes": 5,
    "input_size": 40,
}


def small(**fields: Any) -> spec.Network:
    """A network of two dense blocks with some fields replaced."""
    return spec.densenet(spec.DenseNetConfig(**BASE | fields), "small")


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
    "pool_on_negatives": small(stem={"channels": 6, "norm": False}),
    "normed_stem": small(stem={"channels": 6, "pool": False}),
    "even_kernel": small(stem={"channels": 6, "kernel_size": 4, "stride": 3, "padding": 2}),
    "one_block": small(block_config=[2]),
    "deep": small(block_config=[1, 1, 2, 1], input_size=64),
    "five_channels": small(in_channels=5),
    "eps": small(eps=1e-2),
    "softmax": small(classifier_activation="softmax"),
}


@dataclass(frozen=True)
class Case:
    """A network and the (C, H, W) it is run on."""

    network: spec.Network
    input_shape: tuple[int, int, int]


def _oblong(network: spec.Network) -> Case:
    """An odd height and an even width, so that the two are not confused and padding shows."""
    channels, height, width = network.input_shape
    return Case(network, (channels, height + 1, width + 4))


def _variant(name: str) -> Case:
    """At a size that leaves 2x2 at the end of ImageNet's networks, 4x4 at the end of CIFAR's."""
    network = spec.variant(name)
    size = 64 if network.input_shape[1] > 32 else 16
    return Case(network, (network.in_channels, size, size))


CASES = {name: _oblong(network) for name, network in SMALL.items()}
VARIANTS = {name: _variant(name) for name in spec.names()}
