"""AlexNet on one device.

After Krizhevsky, Sutskever & Hinton: ImageNet Classification with Deep Convolutional Neural Networks.
NIPS 2012, section 3. Departs from it: no groups, batch norm after the first two ReLUs in place of local
response normalization, no padding in the first convolution.
"""

from typing import Literal

from pydantic import Field

from spec.blocks import Node, Sequential
from spec.config import FAMILY, NetworkConfig
from spec.families.head import flattened_features, flattening
from spec.layers import BatchNorm, Conv, Dropout, Linear, MaxPool, ReLU
from spec.network import Network, assemble


class AlexNetConfig(NetworkConfig):
    """The images, the classes and the regularization."""

    family: Literal["alexnet"] = Field("alexnet", description=FAMILY)
    norm: bool = Field(True, description="whether batch norm follows the first two ReLUs")
    dropout: float = Field(0.5, ge=0, lt=1, description="rate of dropout after the first two linear layers")
    eps: float = Field(1e-5, gt=0, allow_inf_nan=False, description="added to the variance in batch norm")
    decay: float = Field(0.9, ge=0, lt=1, description="share of the old running statistic that an update keeps")


def alexnet(config: AlexNetConfig, name: str = "alexnet") -> Network:
    """Five convolutions, three overlapping pools and three linear layers."""
    features: list[tuple[str, Node]] = []
    channels = config.in_channels
    convolutions = [(96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1)]
    for i, (out_channels, kernel_size, stride, padding) in enumerate(convolutions, start=1):
        features.append((f"conv{i}", Conv(channels, out_channels, kernel_size, stride, padding, bias=True)))
        features.append((f"relu{i}", ReLU()))
        if config.norm and i in (1, 2):
            features.append((f"norm{i}", BatchNorm(out_channels, config.eps, config.decay)))
        if i in (1, 2, 5):
            features.append((f"pool{i}", MaxPool(3, 2, 0)))
        channels = out_channels
    body = Sequential(tuple(features))
    classifier: list[tuple[str, Node]] = [
        ("fc1", Linear(flattened_features(config, body, "alexnet"), 4096, bias=True)),
        ("relu1", ReLU()),
        ("dropout1", Dropout(config.dropout)),
        ("fc2", Linear(4096, 4096, bias=True)),
        ("relu2", ReLU()),
        ("dropout2", Dropout(config.dropout)),
        ("fc3", Linear(4096, config.num_classes, bias=True)),
    ]
    return assemble(name, config, flattening(body, classifier))
