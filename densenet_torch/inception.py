"""The composite of GoogLeNet as a PyTorch module."""

import torch
from torch import Tensor, nn

from densenet_torch.layers import build
from spec import blocks


@build.register(blocks.Inception)
class Inception(nn.Module):
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b)."""

    def __init__(self, node: blocks.Inception):
        super().__init__()
        C, (reduced2, out2), (reduced3, out3) = node.in_channels, node.branch2, node.branch3
        self.conv1 = nn.Conv2d(C, node.branch1, kernel_size=1, bias=node.bias)
        self.relu1 = nn.ReLU(inplace=True)
        self.reduce2 = nn.Conv2d(C, reduced2, kernel_size=1, bias=node.bias)
        self.conv2 = nn.Conv2d(reduced2, out2, kernel_size=3, padding=1, bias=node.bias)
        self.relu2 = nn.ReLU(inplace=True)
        self.reduce3 = nn.Conv2d(C, reduced3, kernel_size=1, bias=node.bias)
        self.conv3 = nn.Conv2d(reduced3, out3, kernel_size=5, padding=2, bias=node.bias)
        self.relu3 = nn.ReLU(inplace=True)
        self.pool4 = nn.MaxPool2d(3, stride=1, padding=1)
        self.conv4 = nn.Conv2d(C, node.branch4, kernel_size=1, bias=node.bias)
        self.relu4 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        branch1 = self.relu1(self.conv1(x))
        branch2 = self.relu2(self.conv2(self.reduce2(x)))
        branch3 = self.relu3(self.conv3(self.reduce3(x)))
        branch4 = self.relu4(self.conv4(self.pool4(x)))
        return torch.cat([branch1, branch2, branch3, branch4], dim=1)  # (N, out_channels, H, W)
