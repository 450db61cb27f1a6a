"""What the networks are: every number and every name, and no framework."""

from spec.analysis import Figures, analyze, total
from spec.blocks import Sequential
from spec.config import NetworkConfig
from spec.errors import SpecError
from spec.families.densenet import DenseNetConfig, Stem
from spec.families.squeeze_excitation import SqueezeExcitationConfig
from spec.network import Network, build
from spec.parameters import Weights, initialize, is_buffer, parameter_shapes, randomize
from spec.rewrites import without_dropout
from spec.running import RunningUpdate
from spec.shapes import Shape, Shapes
from spec.tree import children, join, rewrite, walk
from spec.variants import Published, load, load_config, names, published, schema, variant, variant_config
from spec.weights import check_weights, read_weights

__all__ = [
    "DenseNetConfig",
    "Figures",
    "Network",
    "NetworkConfig",
    "Published",
    "RunningUpdate",
    "Sequential",
    "Shape",
    "Shapes",
    "SpecError",
    "SqueezeExcitationConfig",
    "Stem",
    "Weights",
    "analyze",
    "build",
    "check_weights",
    "children",
    "initialize",
    "is_buffer",
    "join",
    "load",
    "load_config",
    "names",
    "parameter_shapes",
    "published",
    "randomize",
    "read_weights",
    "rewrite",
    "schema",
    "total",
    "variant",
    "variant_config",
    "walk",
    "without_dropout",
]
