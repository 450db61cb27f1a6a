"""The composites of DenseNet as PyTorch modules."""

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

from densenet_torch.chain import Chain
from densenet_torch.layers import build, momentum
from spec import blocks


def named_children(node: blocks.Container) -> OrderedDict[str, nn.Module]:
    """The modules of a container's children, under the spec's names."""
    return OrderedDict((name, build(child)) for name, child in node.children)


@build.register
def _(node: blocks.Sequential) -> nn.Module:
    return nn.Sequential(named_children(node))


@build.register(blocks.DenseBlock)
class DenseBlock(Chain):
    """Dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""

    def __init__(self, node: blocks.DenseBlock):
        super().__init__(named_children(node))


@build.register(blocks.DenseLayer)
class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3; appends k channels to its input (Huang et al. 2017, section 3).

    Without a bottleneck: BN-ReLU-3x3.
    """

    bottleneck: Final[bool]  # so that torch.jit.script leaves out what is not there

    def __init__(self, node: blocks.DenseLayer):
        super().__init__()
        C, k, B, eps, m = node.in_channels, node.growth_rate, node.bottleneck_channels, node.eps, momentum(node.decay)
        self.norm1 = nn.BatchNorm2d(C, eps=eps, momentum=m)
        self.relu1 = nn.ReLU(inplace=True)
        if B is None:
            self.conv1 = nn.Conv2d(C, k, kernel_size=3, padding=1, bias=node.bias)
        else:
            self.conv1 = nn.Conv2d(C, B, kernel_size=1, bias=node.bias)
            self.norm2 = nn.BatchNorm2d(B, eps=eps, momentum=m)
            self.relu2 = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(B, k, kernel_size=3, padding=1, bias=node.bias)
        self.se = SqueezeExcitation(node.squeeze_excitation) if node.squeeze_excitation else None
        self.dropout = nn.Dropout(node.dropout) if node.dropout else None
        self.bottleneck = B is not None

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        new = self.conv1(self.relu1(self.norm1(x)))  # (N, bn_size * k, H, W), or (N, k, H, W)
        if self.bottleneck:
            new = self.conv2(self.relu2(self.norm2(new)))  # (N, k, H, W)
        if self.se is not None:
            new = self.se(new)
        if self.dropout is not None:
            new = self.dropout(new)
        return torch.cat([x, new], dim=1)  # (N, C + k, H, W)


@build.register(blocks.SqueezeExcitation)
class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from all channel means (Hu et al. 2018, section 3)."""

    def __init__(self, node: blocks.SqueezeExcitation):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(node.channels, node.hidden_channels, bias=node.bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(node.hidden_channels, node.channels, bias=node.bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        gate = self.flatten(self.pool(x))  # (N, C)
        gate = self.sigmoid(self.fc2(self.relu(self.fc1(gate))))  # (N, C)
        return x * gate[:, :, None, None]  # (N, C, H, W)


@build.register(blocks.Transition)
class Transition(nn.Module):
    """BN-ReLU-1x1, then a 2x2 average pool: fewer channels, half the size (Huang et al. 2017, section 3)."""

    def __init__(self, node: blocks.Transition):
        super().__init__()
        self.norm = nn.BatchNorm2d(node.in_channels, eps=node.eps, momentum=momentum(node.decay))
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(node.in_channels, node.out_channels, kernel_size=1, bias=node.bias)
        self.pool = nn.AvgPool2d(2, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        return self.pool(self.conv(self.relu(self.norm(x))))  # (N, out_channels, H // 2, W // 2)
