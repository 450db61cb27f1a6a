"""Networks made from networks."""

from dataclasses import replace

from spec.blocks import DenseLayer, Sequential
from spec.layers import Dropout
from spec.network import Network
from spec.tree import Node, rewrite


def without_dropout(network: Network) -> Network:
    """The same network with every dropout rate zero: two frameworks never draw the same masks."""
    root = rewrite(network.root, _without_dropout)
    assert isinstance(root, Sequential)
    return replace(network, root=root)


def _without_dropout(node: Node) -> Node:
    if isinstance(node, DenseLayer):
        return replace(node, dropout=0.0)
    return Dropout(rate=0.0) if isinstance(node, Dropout) else node
