"""Networks made simpler for a comparison."""

from dataclasses import replace

from spec.blocks import DenseBlock, Node, Sequential
from spec.layers import Dropout
from spec.network import Network


def without_dropout(network: Network) -> Network:
    """The same network with every dropout rate zero: two frameworks never draw the same masks."""
    root = _without_dropout(network.root)
    assert isinstance(root, Sequential)
    return replace(network, root=root)


def _without_dropout(node: Node) -> Node:
    if isinstance(node, Sequential):
        return Sequential(tuple((name, _without_dropout(child)) for name, child in node.children))
    if isinstance(node, DenseBlock):
        return DenseBlock(tuple(replace(layer, dropout=0.0) for layer in node.layers))
    if isinstance(node, Dropout):
        return Dropout(0.0)
    return node
