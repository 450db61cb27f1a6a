"""What tests share: which backends a run tests, photographs, and the kinds of nodes that there are."""

import os
from dataclasses import is_dataclass
from inspect import isabstract

import numpy as np
import pytest

import spec
from densenet_tools import backends, images
from densenet_tools.backends import Backend, Runner
from densenet_tools.parity import Verdict, verify
from spec import blocks, layers
from spec.tree import Node

FRAMEWORKS = [name for name, entry in backends.BACKENDS.items() if name != "numpy" and entry.trains]


def chosen() -> list[str]:
    """The backends besides NumPy that this run tests: those that DENSENET_BACKENDS names, or that are installed."""
    wanted = os.environ.get("DENSENET_BACKENDS")
    names = [str(runner) for runner in backends.installed()] if wanted is None else wanted.split(",")
    return [name for name in names if name != "numpy"]


def require(name: str) -> Backend:
    """The backend, or a skip where this run does not test it; one that DENSENET_BACKENDS names must be there."""
    if name not in ("numpy", *chosen()):
        pytest.skip(f"{name} is not installed, or DENSENET_BACKENDS leaves it out")
    return backends.parse(name).load()


def photographs(shape: tuple[int, ...], count: int = 2) -> np.ndarray:
    """Crops of the photograph that ships with matplotlib: (N, C, H, W)."""
    return images.load(images.samples(), count, shape)


def verdict(network: spec.Network, name: str, batch: np.ndarray, *arguments, **options) -> Verdict:
    """What is found of one backend (or executor), by its name."""
    (found,) = verify(network, [backends.parse(name)], batch, *arguments, **options)
    return found


def loaded(backend: Backend, network: spec.Network, weights: spec.Weights):
    """A model with weights, of their dtype."""
    model = backend.build(network, dtype=next(iter(weights.values())).dtype.name)
    backend.load_weights(model, weights)
    return model


def kinds(base: type[Node]) -> list[type[Node]]:
    """The nodes of the spec that are leaves, containers or composites, in the order in which it defines them."""
    defined = [kind for module in (layers, blocks) for kind in vars(module).values() if is_dataclass(kind)]
    return [kind for kind in dict.fromkeys(defined) if issubclass(kind, base) and not isabstract(kind)]


__all__ = ["FRAMEWORKS", "Runner", "chosen", "kinds", "loaded", "photographs", "require", "verdict"]
