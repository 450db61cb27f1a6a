"""The composite of GoogLeNet as a function that adds operators to a graph."""

from densenet_onnx.graph import Graph, window
from densenet_onnx.layers import build
from spec import blocks


@build.register
def inception(node: blocks.Inception, graph: Graph, x: str, name: str) -> str:
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b)."""
    C, (reduced2, out2), (reduced3, out3), bias = node.in_channels, node.branch2, node.branch3, node.bias
    branch1 = graph.conv(f"{name}.conv1", x, C, node.branch1, kernel_size=1, bias=bias)
    branch1 = graph.add("Relu", f"{name}.relu1", branch1)
    branch2 = graph.conv(f"{name}.reduce2", x, C, reduced2, kernel_size=1, bias=bias)
    branch2 = graph.conv(f"{name}.conv2", branch2, reduced2, out2, kernel_size=3, padding=1, bias=bias)
    branch2 = graph.add("Relu", f"{name}.relu2", branch2)
    branch3 = graph.conv(f"{name}.reduce3", x, C, reduced3, kernel_size=1, bias=bias)
    branch3 = graph.conv(f"{name}.conv3", branch3, reduced3, out3, kernel_size=5, padding=2, bias=bias)
    branch3 = graph.add("Relu", f"{name}.relu3", branch3)
    branch4 = graph.add("MaxPool", f"{name}.pool4", x, **window(3, stride=1), pads=[1] * 4)
    branch4 = graph.conv(f"{name}.conv4", branch4, C, node.branch4, kernel_size=1, bias=bias)
    branch4 = graph.add("Relu", f"{name}.relu4", branch4)
    return graph.add("Concat", name, branch1, branch2, branch3, branch4, axis=1)  # (N, out_channels, H, W)
