"""What the networks are: every number and every name, and no framework."""

from spec.analysis import Figures as Figures, analyze as analyze, total as total
from spec.blocks import Sequential as Sequential
from spec.checkpoint import Checkpoint as Checkpoint, read_weights as read_weights, save as save
from spec.config import NetworkConfig as NetworkConfig
from spec.devices import device_of as device_of
from spec.errors import SpecError as SpecError, SpecWarning as SpecWarning
from spec.families.densenet import DenseNetConfig as DenseNetConfig, Stem as Stem
from spec.families.squeeze_excitation import SqueezeExcitationConfig as SqueezeExcitationConfig
from spec.network import Network as Network, build as build
from spec.parameters import (
    Weights as Weights,
    counts as counts,
    initialize as initialize,
    is_buffer as is_buffer,
    parameter_shapes as parameter_shapes,
    randomize as randomize,
)
from spec.preprocessing import Preprocessing as Preprocessing
from spec.rewrites import optimized as optimized, without_dropout as without_dropout
from spec.running import RunningUpdate as RunningUpdate
from spec.shapes import Shape as Shape, Shapes as Shapes
from spec.sources import holds_weights as holds_weights, load as load, load_config as load_config, open as open
from spec.tree import children as children, join as join, rewrite as rewrite, walk as walk
from spec.variants import (
    Published as Published,
    names as names,
    published as published,
    schema as schema,
    variant as variant,
    variant_config as variant_config,
)
from spec.weights import check_weights as check_weights
