"""The fully connected head that flattens a feature map, as the networks before global pooling have it."""

from math import prod

from spec.blocks import Sequential
from spec.config import NetworkConfig
from spec.layers import Flatten
from spec.tree import Chain, output_shape


def flattened_features(config: NetworkConfig, features: Sequential) -> int:
    """How many features the flattened map has at the config's input_size; raises TooSmall where none are left."""
    return prod(output_shape(features, (config.in_channels, config.input_size, config.input_size)))


def flattening(features: Sequential, classifier: Sequential) -> Chain:
    """features, flatten, classifier."""
    return ("features", features), ("flatten", Flatten()), ("classifier", classifier)
