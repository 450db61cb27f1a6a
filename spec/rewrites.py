"""Networks made from networks: other layers, the same function in inference."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from spec.blocks import Concatenation, DenseBlock, DenseLayer, RectifiedSum, Residual, Sequential, Transition
from spec.layers import BatchNorm, Conv, Dropout
from spec.network import Network
from spec.parameters import Weights, parameter_shapes
from spec.tree import Chain, Node, Parallel, join, rewrite, walk
from spec.weights import check_weights

POOLED_FIRST = ("norm", "relu", "pool", "conv")  # the layers of a transition


def optimized(network: Network, weights: Weights) -> tuple[Network, Weights]:
    """A network that computes the same in inference with less, and its weights: pooled first, then folded."""
    return folded(pooled_first(without_dropout(network)), weights)


def without_dropout(network: Network) -> Network:
    """The same network with every dropout rate zero: two frameworks never draw the same masks."""
    return _rewritten(network, _without_dropout)


def pooled_first(network: Network) -> Network:
    """Transitions pool before their 1x1 convolution, on a quarter of the pixels: the mean commutes with it."""
    return _rewritten(network, _pooled_first)


def folded(network: Network, weights: Weights) -> tuple[Network, Weights]:
    """Batch norms right behind a convolution are gone: its weight and bias do what they did, in inference.

    Raises SpecError for weights that are not the network's.
    """
    dtype = next((str(array.dtype) for array in weights.values() if isinstance(array, np.ndarray)), "float32")
    check_weights(weights, parameter_shapes(network), dtype)
    network, kept = _rewritten(network, _opened), dict(weights)
    for path, norm_path, norm in _folding(network.root):
        of_norm = {name: kept.pop(f"{norm_path}.{name}") for name in norm.parameter_shapes()}
        folded_in = fold(kept[f"{path}.weight"], kept.get(f"{path}.bias"), of_norm, norm.eps)
        kept[f"{path}.weight"], kept[f"{path}.bias"] = folded_in
    network = _rewritten(network, _without_norms)
    return network, {name: kept[name] for name in parameter_shapes(network)}


def fold(
    weight: np.ndarray, bias: np.ndarray | None, norm: Mapping[str, np.ndarray], eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution, (O, I, k, k) and (O,), that does what a batch norm behind it does, too.

    Computed in float64, whatever the dtype.
    """
    scale, shift, mean, var = (
        norm[name].astype("float64") for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(var + eps)
    moved = (0.0 if bias is None else bias.astype("float64")) - mean
    return (weight * scale[:, None, None, None]).astype(weight.dtype), (moved * scale + shift).astype(weight.dtype)


def _rewritten(network: Network, change: Callable[[Node], Node]) -> Network:
    root = rewrite(network.root, change)
    assert isinstance(root, Sequential)
    return replace(network, root=root)


def _without_dropout(node: Node) -> Node:
    if isinstance(node, DenseLayer):
        return replace(node, dropout=0.0)
    return Dropout(rate=0.0) if isinstance(node, Dropout) else node


def _pooled_first(node: Node) -> Node:
    if not isinstance(node, Transition):
        return node
    layers: dict[str, Node] = dict(*node.branches)
    return Sequential(tuple((name, layers[name]) for name in POOLED_FIRST))


def _opened(node: Node) -> Node:
    """The same layers under the same names in a node that takes any layers."""
    if isinstance(node, DenseLayer):
        return Concatenation(node.branches)
    if isinstance(node, Residual):
        return RectifiedSum(node.branches)
    return Sequential(node.children) if isinstance(node, DenseBlock) else node


def _folding(root: Node) -> Iterator[tuple[str, str, BatchNorm]]:
    """The paths of each convolution and of the batch norm right behind it, and that norm."""
    for path, node in [("", root), *walk(root)]:
        for chain in node.branches:
            for (name, layer), (norm_name, norm) in pairwise(chain):
                if isinstance(layer, Conv) and isinstance(norm, BatchNorm):
                    yield join(path, name), join(path, norm_name), norm


def _without_norms(node: Node) -> Node:
    if isinstance(node, Sequential):
        return Sequential(_chain_without_norms(node.children))
    return replace(node, chains=tuple(map(_chain_without_norms, node.chains))) if isinstance(node, Parallel) else node


def _chain_without_norms(chain: Chain) -> Chain:
    kept: list[tuple[str, Node]] = []
    for name, node in chain:
        if kept and isinstance(kept[-1][1], Conv) and isinstance(node, BatchNorm):
            kept[-1] = (kept[-1][0], replace(kept[-1][1], bias=True))
        else:
            kept.append((name, node))
    return tuple(kept)
