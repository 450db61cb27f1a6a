"""The composite of ResNet as a PyTorch module."""

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_torch.blocks import SqueezeExcitation
from densenet_torch.layers import build, momentum
from spec import blocks


@build.register(blocks.Residual)
class Residual(nn.Module):
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3)."""

    def __init__(self, node: blocks.Residual):
        super().__init__()
        C, out, eps, m = node.in_channels, node.out_channels, node.eps, momentum(node.decay)
        self.conv1 = nn.Conv2d(C, out, kernel_size=3, stride=node.stride, padding=1, bias=node.bias)
        self.bn1 = nn.BatchNorm2d(out, eps=eps, momentum=m)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, kernel_size=3, padding=1, bias=node.bias)
        self.bn2 = nn.BatchNorm2d(out, eps=eps, momentum=m)
        self.se = SqueezeExcitation(node.squeeze_excitation) if node.squeeze_excitation else None
        self.downsample = nn.Sequential() if node.projection else None
        if self.downsample is not None:
            self.downsample.append(nn.Conv2d(C, out, kernel_size=1, stride=node.stride, bias=node.bias))
            if node.projection_norm:
                self.downsample.append(nn.BatchNorm2d(out, eps=eps, momentum=m))

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        branch = self.relu1(self.bn1(self.conv1(x)))  # (N, out_channels, H / stride, W / stride)
        branch = self.bn2(self.conv2(branch))
        if self.se is not None:
            branch = self.se(branch)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(branch + shortcut)
