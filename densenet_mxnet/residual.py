"""The composite of ResNet as a Gluon block."""

from typing import Any

from mxnet.gluon import HybridBlock, nn

from densenet_mxnet.blocks import SqueezeExcitation
from densenet_mxnet.layers import build, relu
from spec import blocks


@build.register(blocks.Residual)
class Residual(HybridBlock):
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3)."""

    def __init__(self, node: blocks.Residual):
        super().__init__()
        C, out, stride, eps, decay = node.in_channels, node.out_channels, node.stride, node.eps, node.decay
        self.conv1 = nn.Conv2D(out, in_channels=C, kernel_size=3, strides=stride, padding=1, use_bias=node.bias)
        self.bn1 = nn.BatchNorm(in_channels=out, epsilon=eps, momentum=decay)
        self.relu1 = nn.Activation("relu")
        self.conv2 = nn.Conv2D(out, in_channels=out, kernel_size=3, padding=1, use_bias=node.bias)
        self.bn2 = nn.BatchNorm(in_channels=out, epsilon=eps, momentum=decay)
        self.se = SqueezeExcitation(node.squeeze_excitation) if node.squeeze_excitation else None
        self.downsample = nn.HybridSequential() if node.projection else None
        if self.downsample is not None:
            self.downsample.add(nn.Conv2D(out, in_channels=C, kernel_size=1, strides=stride, use_bias=node.bias))
            if node.projection_norm:
                self.downsample.add(nn.BatchNorm(in_channels=out, epsilon=eps, momentum=decay))

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        branch = self.relu1(self.bn1(self.conv1(x)))  # (N, out_channels, H / stride, W / stride)
        branch = self.bn2(self.conv2(branch))
        if self.se is not None:
            branch = self.se(branch)
        shortcut = x if self.downsample is None else self.downsample(x)
        return relu(F, branch + shortcut)
