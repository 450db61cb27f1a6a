"""Leaf nodes as Keras layers on symbolic tensors, every argument that frameworks default differently written out.

`name` is the node's dotted path. The data format is the global one, as in keras.applications.
"""

import math
from functools import singledispatch
from typing import Any

import keras

from spec import layers

# Drawn as spec.initialize draws them: normal with variance 2 / fan-in, and uniform within 1 / sqrt(fan-in).
CONV_INITIALIZER = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "distribution": "untruncated_normal"}}
LINEAR_INITIALIZER = {"class_name": "VarianceScaling", "config": {"scale": 1 / 3, "distribution": "uniform"}}


@singledispatch
def build(node: object, x: Any, name: str) -> Any:
    """The output of a node of the spec for the symbolic input `x`."""
    raise TypeError(f"densenet_keras cannot build {node!r}: expected a node of the spec")


def channel_axis() -> int:
    """Where the global data format puts channels."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def pad_for_max(x: Any, padding: int) -> Any:
    """Pads height and width with -infinity: the zeros of ZeroPadding2D would win over negative values."""
    sides, none = (padding, padding), (0, 0)
    widths = (none, none, sides, sides) if channel_axis() == 1 else (none, sides, sides, none)
    return keras.ops.pad(x, widths, mode="constant", constant_values=-math.inf)


@build.register
def _(node: layers.Conv, x: Any, name: str) -> Any:
    padding = "valid"
    if node.stride == 1 and 2 * node.padding == node.kernel_size - 1:
        padding = "same"  # symmetric only here: with a stride Keras pads even sizes on one side more
    elif node.padding > 0:
        x = keras.layers.ZeroPadding2D(node.padding, name=f"{name}.pad")(x)
    return keras.layers.Conv2D(
        node.out_channels,
        kernel_size=node.kernel_size,
        strides=node.stride,
        padding=padding,
        use_bias=node.bias,
        kernel_initializer=CONV_INITIALIZER,
        name=name,
    )(x)


@build.register
def _(node: layers.BatchNorm, x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(axis=channel_axis(), epsilon=node.eps, momentum=node.decay, name=name)(x)


@build.register
def _(node: layers.ReLU, x: Any, name: str) -> Any:
    return keras.layers.ReLU(name=name)(x)


@build.register
def _(node: layers.Sigmoid, x: Any, name: str) -> Any:
    return keras.layers.Activation("sigmoid", name=name)(x)


@build.register
def _(node: layers.MaxPool, x: Any, name: str) -> Any:
    if node.padding > 0:
        x = pad_for_max(x, node.padding)
    return keras.layers.MaxPooling2D(node.kernel_size, strides=node.stride, padding="valid", name=name)(x)


@build.register
def _(node: layers.AvgPool, x: Any, name: str) -> Any:
    return keras.layers.AveragePooling2D(node.kernel_size, strides=node.stride, padding="valid", name=name)(x)


@build.register
def _(node: layers.GlobalAvgPool, x: Any, name: str) -> Any:
    return keras.layers.GlobalAveragePooling2D(keepdims=True, name=name)(x)


@build.register
def _(node: layers.Flatten, x: Any, name: str) -> Any:
    if channel_axis() == -1:  # NHWC -> NCHW, so that the classifier's weights mean the same in every backend
        x = keras.layers.Permute((3, 1, 2), name=f"{name}.permute")(x)
    return keras.layers.Flatten(data_format="channels_last", name=name)(x)  # as it lies: "channels_first" permutes


@build.register
def _(node: layers.Linear, x: Any, name: str) -> Any:
    if x.shape[-1] is None:  # flattened from an open height and width; sizes that fit have just these features
        x = keras.layers.Reshape((node.in_features,), name=f"{name}.features")(x)
    return keras.layers.Dense(node.out_features, use_bias=node.bias, kernel_initializer=LINEAR_INITIALIZER, name=name)(
        x
    )


@build.register
def _(node: layers.Dropout, x: Any, name: str) -> Any:
    return keras.layers.Dropout(node.rate, name=name)(x)


@build.register
def _(node: layers.Softmax, x: Any, name: str) -> Any:
    return keras.layers.Softmax(axis=channel_axis(), name=name)(x)
