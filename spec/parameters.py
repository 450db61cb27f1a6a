"""Canonical parameter names, their shapes, and one set of NumPy weights for every backend.

Names and layouts are torchvision's: `features.denseblock1.denselayer1.norm1.weight`; convolutions
(out_channels, in_channels, height, width), linear layers (out_features, in_features), batch norms
`weight`, `bias`, `running_mean` and `running_var`. The running ones are buffers, not trained.
"""

import zlib
from numbers import Integral

import numpy as np

from spec.errors import SpecError
from spec.layers import BUFFERS
from spec.network import Network
from spec.shapes import Shapes
from spec.tree import walk

Weights = dict[str, np.ndarray]


def is_buffer(name: str) -> bool:
    """Whether a canonical name is that of a running statistic."""
    return name.endswith(BUFFERS)


def counts(weights: Weights) -> tuple[int, int]:
    """How many values are parameters, and how many buffers."""
    buffers = sum(array.size for name, array in weights.items() if is_buffer(name))
    return sum(array.size for array in weights.values()) - buffers, buffers


def parameter_shapes(network: Network) -> Shapes:
    """{canonical name: shape} of every parameter and buffer, in the order of a torch state dict."""
    return {
        f"{path}.{name}": shape for path, node in walk(network.root) for name, shape in node.parameter_shapes().items()
    }


def initialize(network: Network, seed: int, dtype: type[np.floating] = np.float32) -> Weights:
    """Fresh weights, drawn as torchvision's DenseNet draws them; the same for every backend.

    Convolutions are normal with variance 2 / fan-in (He et al. 2015), linear weights uniform within
    1 / sqrt(fan-in), batch norms the identity, biases zero. Each array has its own stream, seeded by
    `seed` and its name, so that networks that share a layer share its weights.
    """
    return {name: _initial(name, shape, seed).astype(dtype) for name, shape in parameter_shapes(network).items()}


def randomize(weights: Weights, seed: int) -> Weights:
    """A copy in which batch norms and biases are random too, so that a comparison exercises them.

    Scales and running variances are uniform in (0.5, 1.5); shifts, biases and running means are
    normal with standard deviation 0.1. Kernels stay as they are.
    """
    return {
        name: array if array.ndim > 1 else _random_vector(name, array.shape, seed).astype(array.dtype)
        for name, array in weights.items()
    }


def _stream(name: str, seed: int) -> np.random.Generator:
    if not isinstance(seed, Integral) or seed < 0:
        raise SpecError(f"seed must be a whole number not below 0, found {seed!r}")
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _initial(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    fan_in = int(np.prod(shape[1:]))
    if len(shape) == 4:
        return _stream(name, seed).normal(0, np.sqrt(2 / fan_in), shape)
    if len(shape) == 2:
        return _stream(name, seed).uniform(-1 / np.sqrt(fan_in), 1 / np.sqrt(fan_in), shape)
    return np.ones(shape) if name.endswith((".weight", ".running_var")) else np.zeros(shape)


def _random_vector(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    if name.endswith((".weight", ".running_var")):
        return _stream(name, seed).uniform(0.5, 1.5, shape)
    return _stream(name, seed).normal(0, 0.1, shape)
