"""The composite of GoogLeNet as a Gluon block."""

from typing import Any

from mxnet.gluon import nn

from densenet_mxnet.concat import RecordingAware, concat
from densenet_mxnet.layers import build
from spec import blocks


@build.register(blocks.Inception)
class Inception(RecordingAware):
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b)."""

    def __init__(self, node: blocks.Inception):
        super().__init__()
        C, (reduced2, out2), (reduced3, out3) = node.in_channels, node.branch2, node.branch3
        self.conv1 = nn.Conv2D(node.branch1, in_channels=C, kernel_size=1, use_bias=node.bias)
        self.relu1 = nn.Activation("relu")
        self.reduce2 = nn.Conv2D(reduced2, in_channels=C, kernel_size=1, use_bias=node.bias)
        self.conv2 = nn.Conv2D(out2, in_channels=reduced2, kernel_size=3, padding=1, use_bias=node.bias)
        self.relu2 = nn.Activation("relu")
        self.reduce3 = nn.Conv2D(reduced3, in_channels=C, kernel_size=1, use_bias=node.bias)
        self.conv3 = nn.Conv2D(out3, in_channels=reduced3, kernel_size=5, padding=2, use_bias=node.bias)
        self.relu3 = nn.Activation("relu")
        self.pool4 = nn.MaxPool2D(3, strides=1, padding=1)
        self.conv4 = nn.Conv2D(node.branch4, in_channels=C, kernel_size=1, use_bias=node.bias)
        self.relu4 = nn.Activation("relu")

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # (N, C, H, W)
        branch1 = self.relu1(self.conv1(x))
        branch2 = self.relu2(self.conv2(self.reduce2(x)))
        branch3 = self.relu3(self.conv3(self.reduce3(x)))
        branch4 = self.relu4(self.conv4(self.pool4(x)))
        return concat(F, branch1, branch2, branch3, branch4)  # (N, out_channels, H, W)
