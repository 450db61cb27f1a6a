"""What the networks are: every number and every name, and no framework."""

from spec.analysis import Layer, analyze, total
from spec.blocks import Sequential, children, walk
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.families.densenet import DenseNetConfig, Stem, densenet
from spec.families.squeeze_excitation import SqueezeExcitationConfig
from spec.network import Network
from spec.parameters import Shapes, Weights, initialize, is_buffer, randomize, shapes
from spec.rewrites import without_dropout
from spec.running import RunningUpdate
from spec.variants import Published, load, load_config, names, published, schema, variant, variant_config
from spec.weights import check_weights, read_weights

__all__ = [
    "DenseNetConfig",
    "Layer",
    "Network",
    "NetworkConfig",
    "Published",
    "RunningUpdate",
    "Sequential",
    "Shapes",
    "SpecError",
    "SqueezeExcitationConfig",
    "Stem",
    "Weights",
    "analyze",
    "check_weights",
    "children",
    "densenet",
    "initialize",
    "is_buffer",
    "load",
    "load_config",
    "names",
    "published",
    "randomize",
    "read_weights",
    "schema",
    "shapes",
    "total",
    "variant",
    "variant_config",
    "walk",
    "without_dropout",
]
