"""The composite of GoogLeNet as a function on symbolic Keras tensors."""

from typing import Any

from keras.layers import Concatenate, Conv2D, MaxPooling2D, ReLU

from densenet_keras.layers import CONV_INITIALIZER, build, channel_axis, pad_for_max
from spec import blocks


@build.register
def inception(node: blocks.Inception, x: Any, name: str) -> Any:
    """Four branches side by side, concatenated (Szegedy et al. 2015, section 4, figure 2b)."""
    (reduced2, out2), (reduced3, out3) = node.branch2, node.branch3
    conv = {"use_bias": node.bias, "kernel_initializer": CONV_INITIALIZER}
    branch1 = Conv2D(node.branch1, kernel_size=1, **conv, name=f"{name}.conv1")(x)
    branch1 = ReLU(name=f"{name}.relu1")(branch1)
    branch2 = Conv2D(reduced2, kernel_size=1, **conv, name=f"{name}.reduce2")(x)
    branch2 = Conv2D(out2, kernel_size=3, padding="same", **conv, name=f"{name}.conv2")(branch2)
    branch2 = ReLU(name=f"{name}.relu2")(branch2)
    branch3 = Conv2D(reduced3, kernel_size=1, **conv, name=f"{name}.reduce3")(x)
    branch3 = Conv2D(out3, kernel_size=5, padding="same", **conv, name=f"{name}.conv3")(branch3)
    branch3 = ReLU(name=f"{name}.relu3")(branch3)
    branch4 = MaxPooling2D(3, strides=1, padding="valid", name=f"{name}.pool4")(pad_for_max(x, 1))
    branch4 = Conv2D(node.branch4, kernel_size=1, **conv, name=f"{name}.conv4")(branch4)
    branch4 = ReLU(name=f"{name}.relu4")(branch4)
    return Concatenate(axis=channel_axis(), name=name)([branch1, branch2, branch3, branch4])
