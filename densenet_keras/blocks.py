"""The composites of DenseNet as functions on symbolic Keras tensors."""

from typing import Any

from keras.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    Reshape,
)

import spec
from densenet_keras.layers import CONV_INITIALIZER, LINEAR_INITIALIZER, build, channel_axis
from spec import blocks


@build.register(blocks.Sequential)
def sequential(node: blocks.Container, x: Any, name: str) -> Any:
    """A container's children, one after the other, under the spec's names."""
    for child_name, child in node.children:
        x = build(child, x, spec.join(name, child_name))
    return x


@build.register
def dense_block(node: blocks.DenseBlock, x: Any, name: str) -> Any:
    """Dense layers, each of which sees the output of all before it (Huang et al. 2017, section 3)."""
    return sequential(node, x, name)


@build.register
def dense_layer(node: blocks.DenseLayer, x: Any, name: str) -> Any:
    """BN-ReLU-1x1, BN-ReLU-3x3; appends k channels to its input (Huang et al. 2017, section 3).

    Without a bottleneck: BN-ReLU-3x3.
    """
    k, B, axis = node.growth_rate, node.bottleneck_channels, channel_axis()
    norm = {"axis": axis, "epsilon": node.eps, "momentum": node.decay}
    conv = {"use_bias": node.bias, "kernel_initializer": CONV_INITIALIZER}
    new = BatchNormalization(**norm, name=f"{name}.norm1")(x)
    new = ReLU(name=f"{name}.relu1")(new)
    if B is None:
        new = Conv2D(k, kernel_size=3, padding="same", **conv, name=f"{name}.conv1")(new)  # (N, H, W, k)
    else:
        new = Conv2D(B, kernel_size=1, **conv, name=f"{name}.conv1")(new)  # (N, H, W, bn_size * k)
        new = BatchNormalization(**norm, name=f"{name}.norm2")(new)
        new = ReLU(name=f"{name}.relu2")(new)
        new = Conv2D(k, kernel_size=3, padding="same", **conv, name=f"{name}.conv2")(new)  # (N, H, W, k)
    if node.squeeze_excitation:
        new = squeeze_excitation(node.squeeze_excitation, new, f"{name}.se")
    if node.dropout:
        new = Dropout(node.dropout, name=f"{name}.dropout")(new)
    return Concatenate(axis=axis, name=name)([x, new])  # (N, H, W, C + k)


@build.register
def squeeze_excitation(node: blocks.SqueezeExcitation, x: Any, name: str) -> Any:
    """Scales each channel by a gate computed from all channel means (Hu et al. 2018, section 3)."""
    dense = {"use_bias": node.bias, "kernel_initializer": LINEAR_INITIALIZER}
    gate = GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)  # (N, 1, 1, C)
    gate = Flatten(name=f"{name}.flatten")(gate)  # (N, C)
    gate = Dense(node.hidden_channels, **dense, name=f"{name}.fc1")(gate)
    gate = ReLU(name=f"{name}.relu")(gate)
    gate = Dense(node.channels, **dense, name=f"{name}.fc2")(gate)
    gate = Activation("sigmoid", name=f"{name}.sigmoid")(gate)  # (N, C)
    each = (node.channels, 1, 1) if channel_axis() == 1 else (1, 1, node.channels)
    return Multiply(name=name)([x, Reshape(each, name=f"{name}.reshape")(gate)])  # (N, H, W, C)


@build.register
def transition(node: blocks.Transition, x: Any, name: str) -> Any:
    """BN-ReLU-1x1, then a 2x2 average pool: fewer channels, half the size (Huang et al. 2017, section 3)."""
    x = BatchNormalization(axis=channel_axis(), epsilon=node.eps, momentum=node.decay, name=f"{name}.norm")(x)
    x = ReLU(name=f"{name}.relu")(x)
    x = Conv2D(
        node.out_channels,
        kernel_size=1,
        use_bias=node.bias,
        kernel_initializer=CONV_INITIALIZER,
        name=f"{name}.conv",
    )(x)
    return AveragePooling2D(2, strides=2, name=f"{name}.pool")(x)  # (N, H // 2, W // 2, out_channels)
