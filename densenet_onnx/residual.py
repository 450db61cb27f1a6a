"""The composite of ResNet as a function that adds operators to a graph."""

from densenet_onnx.blocks import squeeze_excitation
from densenet_onnx.graph import Graph
from densenet_onnx.layers import build
from spec import blocks


@build.register
def residual(node: blocks.Residual, graph: Graph, x: str, name: str) -> str:
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3)."""
    C, out, stride, eps, decay = node.in_channels, node.out_channels, node.stride, node.eps, node.decay
    branch = graph.conv(f"{name}.conv1", x, C, out, kernel_size=3, stride=stride, padding=1, bias=node.bias)
    branch = graph.batch_norm(f"{name}.bn1", branch, out, eps=eps, decay=decay)
    branch = graph.add("Relu", f"{name}.relu1", branch)  # (N, out_channels, H / stride, W / stride)
    branch = graph.conv(f"{name}.conv2", branch, out, out, kernel_size=3, padding=1, bias=node.bias)
    branch = graph.batch_norm(f"{name}.bn2", branch, out, eps=eps, decay=decay)
    if node.squeeze_excitation:
        branch = squeeze_excitation(node.squeeze_excitation, graph, branch, f"{name}.se")
    shortcut = x
    if node.projection:
        shortcut = graph.conv(f"{name}.downsample.0", x, C, out, kernel_size=1, stride=stride, bias=node.bias)
        if node.projection_norm:
            shortcut = graph.batch_norm(f"{name}.downsample.1", shortcut, out, eps=eps, decay=decay)
    return graph.add("Relu", name, graph.add("Add", f"{name}.add", branch, shortcut))
