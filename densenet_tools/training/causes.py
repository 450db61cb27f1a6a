"""Why a loss is not finite: the first layer that puts out such values."""

import numpy as np

import spec
from spec.reference.forward import Pass, forward


def first_not_finite(
    network: spec.Network, weights: spec.Weights, images: np.ndarray, frozen_statistics: bool
) -> str | None:
    """The first layer with an output that is not finite in a training pass, in the weights' dtype; None without one.

    A batch norm whose mean or variance is not finite counts, too: what it puts out then differs from framework to
    framework. The reference runs the pass, without dropout.
    """
    run = Pass(weights, training=True, frozen_statistics=frozen_statistics, record=True)
    dtype = next(iter(weights.values())).dtype
    with np.errstate(all="ignore"):
        forward(network.root, images.astype(dtype), run)
    statistics = {name.rpartition(".")[0] for name, array in run.statistics.items() if not np.isfinite(array).all()}
    return next(
        (path for path, out in run.outputs.items() if path and (path in statistics or not np.isfinite(out).all())), None
    )
