"""Why a loss is not finite: the first layer that puts out such values."""

import numpy as np

import spec
from spec.reference.forward import Pass, forward


def first_not_finite(
    network: spec.Network, weights: spec.Weights, images: np.ndarray, labels: np.ndarray, frozen_statistics: bool
) -> str | None:
    """The first layer with an output that is not finite in a training pass, in the weights' dtype; None without one.

    The reference runs it, without dropout.
    """
    run = Pass(weights, training=True, frozen_statistics=frozen_statistics, record=True)
    dtype = next(iter(weights.values())).dtype
    with np.errstate(all="ignore"):
        forward(network.root, images.astype(dtype), run)
    return next((path for path, output in run.outputs.items() if path and not np.isfinite(output).all()), None)
