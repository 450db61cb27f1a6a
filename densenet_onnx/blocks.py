"""The composites of DenseNet as functions that add operators to a graph."""

from densenet_onnx.graph import Graph, window
from densenet_onnx.layers import build
from spec import blocks
from spec.tree import join


@build.register(blocks.Sequential)
def sequential(node: blocks.Container, graph: Graph, x: str, name: str) -> str:
    """A container's children, one after the other, under the spec's names."""
    for child_name, child in node.children:
        x = build(child, graph, x, join(name, child_name))
    return x


@build.register
def dense_block(node: blocks.DenseBlock, graph: Graph, x: str, name: str) -> str:
    """Dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""
    return sequential(node, graph, x, name)


@build.register
def dense_layer(node: blocks.DenseLayer, graph: Graph, x: str, name: str) -> str:
    """BN-ReLU-1x1, BN-ReLU-3x3; appends k channels to its input (Huang et al. 2017, section 3).

    Without a bottleneck: BN-ReLU-3x3.
    """
    C, k, B, eps, decay = node.in_channels, node.growth_rate, node.bottleneck_channels, node.eps, node.decay
    new = graph.batch_norm(f"{name}.norm1", x, C, eps=eps, decay=decay)
    new = graph.add("Relu", f"{name}.relu1", new)
    if B is None:
        new = graph.conv(f"{name}.conv1", new, C, k, kernel_size=3, padding=1, bias=node.bias)  # (N, k, H, W)
    else:
        new = graph.conv(f"{name}.conv1", new, C, B, kernel_size=1, bias=node.bias)  # (N, bn_size * k, H, W)
        new = graph.batch_norm(f"{name}.norm2", new, B, eps=eps, decay=decay)
        new = graph.add("Relu", f"{name}.relu2", new)
        new = graph.conv(f"{name}.conv2", new, B, k, kernel_size=3, padding=1, bias=node.bias)  # (N, k, H, W)
    if node.squeeze_excitation:
        new = squeeze_excitation(node.squeeze_excitation, graph, new, f"{name}.se")
    return graph.add("Concat", name, x, new, axis=1)  # (N, C + k, H, W)


@build.register
def squeeze_excitation(node: blocks.SqueezeExcitation, graph: Graph, x: str, name: str) -> str:
    """Scales each channel by a gate computed from all channel means (Hu et al. 2018, section 3)."""
    gate = graph.add("GlobalAveragePool", f"{name}.pool", x)  # (N, C, 1, 1)
    gate = graph.add("Flatten", f"{name}.flatten", gate, axis=1)  # (N, C)
    gate = graph.gemm(f"{name}.fc1", gate, node.channels, node.hidden_channels, bias=node.bias)
    gate = graph.add("Relu", f"{name}.relu", gate)
    gate = graph.gemm(f"{name}.fc2", gate, node.hidden_channels, node.channels, bias=node.bias)
    gate = graph.add("Sigmoid", f"{name}.sigmoid", gate)  # (N, C)
    axes = graph.add("Constant", f"{name}.axes", value_ints=[2, 3])
    gate = graph.add("Unsqueeze", f"{name}.unsqueeze", gate, axes)  # (N, C, 1, 1)
    return graph.add("Mul", name, x, gate)  # (N, C, H, W)


@build.register
def transition(node: blocks.Transition, graph: Graph, x: str, name: str) -> str:
    """BN-ReLU-1x1, then a 2x2 average pool: fewer channels, half the size (Huang et al. 2017, section 3)."""
    x = graph.batch_norm(f"{name}.norm", x, node.in_channels, eps=node.eps, decay=node.decay)
    x = graph.add("Relu", f"{name}.relu", x)
    x = graph.conv(f"{name}.conv", x, node.in_channels, node.out_channels, kernel_size=1, bias=node.bias)
    return graph.add("AveragePool", f"{name}.pool", x, **window(2, stride=2))  # (N, out_channels, H // 2, W // 2)
