"""The same weights for other classes or other image channels: what is kept, what is made of it, and what is new."""

import numpy as np

import spec
from spec.config import NormedConfig


def adapted(network: spec.Network, weights: spec.Weights, seed: int = 0) -> tuple[spec.Weights, dict[str, str]]:
    """The weights of `network` made of those of one with other channels or classes, and {name: what was done to it}.

    A kernel for more image channels has the given ones again in turn, each divided among its places; one for fewer has
    their sums, so that an image of equal channels gives what it gave before. What else does not fit is drawn anew.
    """
    found, done = {}, {}
    for name, shape in spec.parameter_shapes(network).items():
        given = weights.get(name)
        if given is not None and given.shape == shape:
            found[name] = given
        elif given is not None and given.ndim == 4 and (*given.shape[:1], *given.shape[2:]) == (*shape[:1], *shape[2:]):
            found[name] = _channels(given, shape[1])
            done[name] = f"made for {shape[1]} channels of those for {given.shape[1]}"
        else:
            found[name] = spec.initialize(network, seed, _dtype(weights))[name]
            done[name] = f"new, drawn with seed {seed}"
    return found, done


def with_eps(
    network: spec.Network, weights: spec.Weights, eps: float
) -> tuple[spec.Network, spec.Weights, dict[str, str]]:
    """The network with another epsilon, running variances moved by the difference, so that inference is the same."""
    assert isinstance(network.config, NormedConfig)
    before = network.config.eps
    other = spec.build(type(network.config)(**network.config.model_dump() | {"eps": eps}), network.name)
    moved = {
        name: array + array.dtype.type(before - eps) for name, array in weights.items() if name.endswith("running_var")
    }
    negative = next((name for name, array in moved.items() if (array < 0).any()), None)
    if negative is not None:
        raise spec.SpecError(
            f"{negative} has variances below {eps - before:.0e}, which an epsilon of {eps} cannot have"
        )
    note = f"moved by {before - eps:.0e}, so that an epsilon of {eps} gives the same in inference"
    return other, weights | moved, {"every running_var": note}


def _channels(kernel: np.ndarray, count: int) -> np.ndarray:
    """(O, C, k, k) -> (O, count, k, k)."""
    C = kernel.shape[1]
    if count < C:
        return np.stack([kernel[:, i::count].sum(axis=1) for i in range(count)], axis=1)
    turn = np.arange(count) % C
    return (kernel[:, turn] / np.bincount(turn)[turn, None, None]).astype(kernel.dtype)


def _dtype(weights: spec.Weights) -> type[np.floating]:
    return next(iter(weights.values())).dtype.type
