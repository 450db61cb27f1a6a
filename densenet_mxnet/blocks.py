"""The composites of DenseNet as Gluon blocks."""

from typing import Any

from mxnet.gluon import HybridBlock, nn

from densenet_mxnet.concat import RecordingAware, concat
from densenet_mxnet.containers import Container
from densenet_mxnet.layers import build, scale
from spec import blocks


@build.register(blocks.Sequential)
class Sequential(Container):
    """A container's children, one after the other, under the spec's names."""

    def __init__(self, node: blocks.Container, prefix: str | None = None):
        super().__init__(prefix)
        with self.name_scope():
            for name, child in node.children:
                setattr(self, name, build(child))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        for block in self._children.values():
            x = block(x)
        return x


@build.register(blocks.DenseBlock)
class DenseBlock(Sequential):
    """Dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""


@build.register(blocks.DenseLayer)
class DenseLayer(RecordingAware):
    """BN-ReLU-1x1, BN-ReLU-3x3; appends k channels to its input (Huang et al. 2017, section 3).

    Without a bottleneck: BN-ReLU-3x3.
    """

    def __init__(self, node: blocks.DenseLayer):
        super().__init__()
        C, k, B, eps, decay = node.in_channels, node.growth_rate, node.bottleneck_channels, node.eps, node.decay
        self.norm1 = nn.BatchNorm(in_channels=C, epsilon=eps, momentum=decay)
        self.relu1 = nn.Activation("relu")
        if B is None:
            self.conv1 = nn.Conv2D(k, in_channels=C, kernel_size=3, padding=1, use_bias=node.bias)
        else:
            self.conv1 = nn.Conv2D(B, in_channels=C, kernel_size=1, use_bias=node.bias)
            self.norm2 = nn.BatchNorm(in_channels=B, epsilon=eps, momentum=decay)
            self.relu2 = nn.Activation("relu")
            self.conv2 = nn.Conv2D(k, in_channels=B, kernel_size=3, padding=1, use_bias=node.bias)
        self.se = SqueezeExcitation(node.squeeze_excitation) if node.squeeze_excitation else None
        self.dropout = nn.Dropout(node.dropout) if node.dropout else None
        self.bottleneck = B is not None

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        new = self.conv1(self.relu1(self.norm1(x)))  # (N, bn_size * k, H, W), or (N, k, H, W)
        if self.bottleneck:
            new = self.conv2(self.relu2(self.norm2(new)))  # (N, k, H, W)
        if self.se is not None:
            new = self.se(new)
        if self.dropout is not None:
            new = self.dropout(new)
        return concat(F, x, new)  # (N, C + k, H, W)


@build.register(blocks.SqueezeExcitation)
class SqueezeExcitation(HybridBlock):
    """Scales each channel by a gate computed from all channel means (Hu et al. 2018, section 3)."""

    def __init__(self, node: blocks.SqueezeExcitation):
        super().__init__()
        self.pool = nn.GlobalAvgPool2D()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(node.hidden_channels, in_units=node.channels, flatten=False, use_bias=node.bias)
        self.relu = nn.Activation("relu")
        self.fc2 = nn.Dense(node.channels, in_units=node.hidden_channels, flatten=False, use_bias=node.bias)
        self.sigmoid = nn.Activation("sigmoid")

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        gate = self.flatten(self.pool(x))  # (N, C)
        gate = self.sigmoid(self.fc2(self.relu(self.fc1(gate))))  # (N, C)
        return scale(F, x, gate)  # (N, C, H, W)


@build.register(blocks.Transition)
class Transition(HybridBlock):
    """BN-ReLU-1x1, then a 2x2 average pool: fewer channels, half the size (Huang et al. 2017, section 3)."""

    def __init__(self, node: blocks.Transition):
        super().__init__()
        self.norm = nn.BatchNorm(in_channels=node.in_channels, epsilon=node.eps, momentum=node.decay)
        self.relu = nn.Activation("relu")
        self.conv = nn.Conv2D(node.out_channels, in_channels=node.in_channels, kernel_size=1, use_bias=node.bias)
        self.pool = nn.AvgPool2D(2, strides=2)

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        return self.pool(self.conv(self.relu(self.norm(x))))  # (N, out_channels, H // 2, W // 2)
