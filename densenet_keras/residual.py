"""The composite of ResNet as a function on symbolic Keras tensors."""

from typing import Any

from keras.layers import Add, BatchNormalization, Conv2D, ReLU, ZeroPadding2D

from densenet_keras.blocks import squeeze_excitation
from densenet_keras.layers import CONV_INITIALIZER, build, channel_axis
from spec import blocks


@build.register
def residual(node: blocks.Residual, x: Any, name: str) -> Any:
    """relu(branch + shortcut), the branch 3x3-BN-ReLU-3x3-BN (He et al. 2016, section 3.3)."""
    out, stride = node.out_channels, node.stride
    norm = {"axis": channel_axis(), "epsilon": node.eps, "momentum": node.decay}
    conv = {"use_bias": node.bias, "kernel_initializer": CONV_INITIALIZER}
    branch = ZeroPadding2D(1, name=f"{name}.conv1.pad")(x)  # with a stride, "same" would pad one side more
    branch = Conv2D(out, kernel_size=3, strides=stride, padding="valid", **conv, name=f"{name}.conv1")(branch)
    branch = BatchNormalization(**norm, name=f"{name}.bn1")(branch)  # (N, H / stride, W / stride, out_channels)
    branch = ReLU(name=f"{name}.relu1")(branch)
    branch = Conv2D(out, kernel_size=3, padding="same", **conv, name=f"{name}.conv2")(branch)
    branch = BatchNormalization(**norm, name=f"{name}.bn2")(branch)
    if node.squeeze_excitation:
        branch = squeeze_excitation(node.squeeze_excitation, branch, f"{name}.se")
    shortcut = x
    if node.projection:
        shortcut = Conv2D(out, kernel_size=1, strides=stride, **conv, name=f"{name}.downsample.0")(shortcut)
        if node.projection_norm:
            shortcut = BatchNormalization(**norm, name=f"{name}.downsample.1")(shortcut)
    return ReLU(name=name)(Add(name=f"{name}.add")([branch, shortcut]))
