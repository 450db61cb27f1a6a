"""Chains of any layers side by side on a graph: what networks become that are rewritten for inference."""

from densenet_onnx.graph import Graph
from densenet_onnx.layers import build
from spec import blocks
from spec.tree import Parallel, join


def ends_of(node: Parallel, graph: Graph, x: str, name: str) -> list[str]:
    """What each chain makes of one input."""
    found = []
    for chain in node.chains:
        end = x
        for child_name, child in chain:
            end = build(child, graph, end, join(name, child_name))
        found.append(end)
    return found


@build.register
def concatenation(node: blocks.Concatenation, graph: Graph, x: str, name: str) -> str:
    """Chains side by side, concatenated."""
    return graph.add("Concat", name, *ends_of(node, graph, x, name), axis=1)  # (N, all their channels, H', W')


@build.register
def rectified_sum(node: blocks.RectifiedSum, graph: Graph, x: str, name: str) -> str:
    """Chains side by side, added, then a ReLU."""
    return graph.add("Relu", name, graph.add("Sum", f"{name}.sum", *ends_of(node, graph, x, name)))
