"""Faults in PyTorch modules."""

import torch
from torch.nn import functional as F


def new_channels(layer, x):
    """What a dense layer with a bottleneck appends."""
    return layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x))))))


def swap_concatenation(model):
    layer = model.features.denseblock1.denselayer2
    layer.forward = lambda x: torch.cat([new_channels(layer, x), x], dim=1)


def detach_skip_connection(model):
    layer = model.features.denseblock1.denselayer2
    layer.forward = lambda x: torch.cat([x.detach(), new_channels(layer, x)], dim=1)


def swap_norm_and_relu(model):
    transition = model.features.transition1
    transition.forward = lambda x: transition.pool(transition.conv(transition.norm(transition.relu(x.clone()))))


def drop_last_relu(model):
    model.relu = torch.nn.Identity()


def same_padding(model):
    conv = model.features.conv0
    conv.forward = lambda x: F.conv2d(F.pad(x, (2, 3, 2, 3)), conv.weight, conv.bias, stride=2)


def ceil_mode(model):
    model.features.transition1.pool.ceil_mode = True


def pool_over_zeros(model):
    model.features.pool0.forward = lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)


def squeeze_by_maximum(model):
    model.features.se.pool = torch.nn.AdaptiveMaxPool2d(1)


def stay_in_training_mode(model):
    norm = model.features.norm5
    norm.train = lambda *_: norm
    norm.training = True


def flatten_channels_last(model):
    model.flatten.forward = lambda x: x.permute(0, 2, 3, 1).flatten(1)


def project_nothing(model):
    """An identity shortcut where the stride asks for a projection: every second pixel, zeros for new channels."""
    shortcut, conv = model.layer1.downsample, model.layer1.downsample[0]
    shortcut.forward = lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2)) + 0 * conv(x)


def add_after_relu(model):
    block = model.layer1
    block.forward = lambda x: torch.relu(block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(x)))))) + x


def exchange_branches(model):
    block = model.a
    block.forward = lambda x: torch.cat(
        [
            block.relu1(block.conv1(x)),
            block.relu3(block.conv3(block.reduce3(x))),
            block.relu2(block.conv2(block.reduce2(x))),
            block.relu4(block.conv4(block.pool4(x))),
        ],
        dim=1,
    )
