"""The fully connected head that flattens a feature map, as the networks before global pooling have it."""

from math import prod

from spec.blocks import Node, Sequential
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.layers import Flatten
from spec.shapes import TooSmall, output_shape


def flattened_features(config: NetworkConfig, features: Sequential, family: str) -> int:
    """How many features the flattened map has at the config's input_size; raises SpecError where none are left."""
    try:
        return prod(output_shape(features, (config.in_channels, config.input_size, config.input_size)))
    except TooSmall:
        raise SpecError(f"input_size {config.input_size} is too small for {family}: no pixel would be left") from None


def flattening(features: Sequential, classifier: list[tuple[str, Node]]) -> list[tuple[str, Node]]:
    """features, flatten, classifier."""
    return [("features", features), ("flatten", Flatten()), ("classifier", Sequential(tuple(classifier)))]
