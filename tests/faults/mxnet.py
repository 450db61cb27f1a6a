"""Faults in Gluon blocks."""

from mxnet import autograd


def new_channels(layer, x):
    """What a dense layer with a bottleneck appends."""
    return layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x))))))


def swap_concatenation(model):
    layer = model.features.denseblock1.denselayer2
    layer.hybrid_forward = lambda F, x: F.concat(new_channels(layer, x), x, dim=1)


def detach_skip_connection(model):
    layer = model.features.denseblock1.denselayer2
    layer.hybrid_forward = lambda F, x: F.concat(F.BlockGrad(x), new_channels(layer, x), dim=1)


def swap_norm_and_relu(model):
    transition = model.features.transition1
    transition.hybrid_forward = lambda F, x: transition.pool(transition.conv(transition.norm(transition.relu(x))))


def drop_last_relu(model):
    model.relu.hybrid_forward = lambda F, x: F.identity(x)


def same_padding(model):
    conv = model.features.conv0
    conv._kwargs["pad"] = (0, 0)
    forward = conv.hybrid_forward
    sides = (0, 0, 0, 0, 2, 3, 2, 3)
    conv.hybrid_forward = lambda F, x, **weights: forward(
        F, F.pad(x, mode="constant", pad_width=sides, constant_value=0), **weights
    )


def ceil_mode(model):
    model.features.transition1.pool._kwargs["pooling_convention"] = "full"


def pool_over_zeros(model):
    pool = model.features.pool0
    pool._kwargs["pad"] = (0, 0)
    forward = pool.hybrid_forward
    sides = (0, 0, 0, 0, 1, 1, 1, 1)
    pool.hybrid_forward = lambda F, x: forward(F, F.pad(x, mode="constant", pad_width=sides, constant_value=0))


def squeeze_by_maximum(model):
    model.features.se.pool._kwargs["pool_type"] = "max"


def stay_in_training_mode(model):
    norm = model.features.norm5
    forward = norm.forward

    def in_training_mode(x, *arguments):
        with autograd.train_mode():
            return forward(x, *arguments)

    norm.forward = in_training_mode


def flatten_channels_last(model):
    model.flatten.hybrid_forward = lambda F, x: F.Flatten(F.transpose(x, axes=(0, 2, 3, 1)))


def project_nothing(model):
    """An identity shortcut where the stride asks for a projection: every second pixel, zeros for new channels."""
    shortcut, conv = model.layer1.downsample, model.layer1.downsample[0]
    shortcut.hybrid_forward = lambda F, x: (
        F.concat(x[:, :, ::2, ::2], F.zeros_like(x[:, :2, ::2, ::2]), dim=1) + 0 * conv(x)
    )


def add_after_relu(model):
    block = model.layer1
    block.hybrid_forward = lambda F, x: F.relu(block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(x)))))) + x


def exchange_branches(model):
    block = model.a
    block.hybrid_forward = lambda F, x: F.concat(
        block.relu1(block.conv1(x)),
        block.relu3(block.conv3(block.reduce3(x))),
        block.relu2(block.conv2(block.reduce2(x))),
        block.relu4(block.conv4(block.pool4(x))),
        dim=1,
    )
