"""Leaf nodes as ONNX operators, every attribute that frameworks default differently written out.

`x` is the name of the input, `name` the node's dotted path.
"""

from functools import singledispatch

from densenet_onnx.graph import Graph, window
from spec import layers


@singledispatch
def build(node: object, graph: Graph, x: str, name: str) -> str:
    """Adds a node of the spec to the graph; returns the name of its output for the input `x`."""
    raise TypeError(f"densenet_onnx cannot build {node!r}: expected a node of the spec")


@build.register
def _(node: layers.Conv, graph: Graph, x: str, name: str) -> str:
    return graph.conv(
        name,
        x,
        node.in_channels,
        node.out_channels,
        kernel_size=node.kernel_size,
        stride=node.stride,
        padding=node.padding,
        bias=node.bias,
    )


@build.register
def _(node: layers.BatchNorm, graph: Graph, x: str, name: str) -> str:
    return graph.batch_norm(name, x, node.channels, eps=node.eps, decay=node.decay)


@build.register
def _(node: layers.ReLU, graph: Graph, x: str, name: str) -> str:
    return graph.add("Relu", name, x)


@build.register
def _(node: layers.Sigmoid, graph: Graph, x: str, name: str) -> str:
    return graph.add("Sigmoid", name, x)


@build.register
def _(node: layers.MaxPool, graph: Graph, x: str, name: str) -> str:
    return graph.add("MaxPool", name, x, **window(node.kernel_size, node.stride), pads=[node.padding] * 4, ceil_mode=0)


@build.register
def _(node: layers.AvgPool, graph: Graph, x: str, name: str) -> str:
    return graph.add("AveragePool", name, x, **window(node.kernel_size, node.stride), pads=[0] * 4, ceil_mode=0)


@build.register
def _(node: layers.GlobalAvgPool, graph: Graph, x: str, name: str) -> str:
    return graph.add("GlobalAveragePool", name, x)


@build.register
def _(node: layers.Flatten, graph: Graph, x: str, name: str) -> str:
    return graph.add("Flatten", name, x, axis=1)


@build.register
def _(node: layers.Linear, graph: Graph, x: str, name: str) -> str:
    return graph.gemm(name, x, node.in_features, node.out_features, bias=node.bias)


@build.register
def _(node: layers.Dropout, graph: Graph, x: str, name: str) -> str:
    return x  # does nothing in inference


@build.register
def _(node: layers.Softmax, graph: Graph, x: str, name: str) -> str:
    return graph.add("Softmax", name, x, axis=1)
