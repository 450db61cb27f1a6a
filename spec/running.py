"""What a training step does to the running statistics of batch norms, framework by framework.

Every framework computes `running = decay * running + (1 - decay) * batch`, where `batch` is the mean or the
variance over the n = N * H * W values of a channel. They differ in two points that a backend states
in its `RUNNING_UPDATE`: PyTorch puts the unbiased variance in, n / (n - 1) times the biased one that
Gluon and Keras put in (and that all of them normalize with); MXNet keeps the decay in float32.
"""

from dataclasses import dataclass

import numpy as np

from spec.layers import BatchNorm
from spec.network import Network
from spec.parameters import Weights
from spec.shapes import Shape
from spec.tree import walk


@dataclass(frozen=True)
class RunningUpdate:
    """How a framework updates running statistics; the defaults are the NumPy reference's."""

    unbiased: bool = False
    decay_dtype: str = "float64"


def expected(network: Network, before: Weights, after: Weights, batch_shape: Shape, update: RunningUpdate) -> Weights:
    """The running statistics that a framework reaches where the reference goes from `before` to `after`.

    It does so with a batch of that shape, (N, C, H, W).
    """
    found, counts = {}, network.values_per_channel(batch_shape)
    for path, node in walk(network.root):
        if isinstance(node, BatchNorm):
            decay = float(np.dtype(update.decay_dtype).type(node.decay))
            n = counts[path]
            for name, factor in (("running_mean", 1.0), ("running_var", n / (n - 1) if update.unbiased else 1.0)):
                old = before[f"{path}.{name}"].astype(np.float64)
                batch = (after[f"{path}.{name}"] - node.decay * old) / (1 - node.decay)
                found[f"{path}.{name}"] = decay * old + (1 - decay) * factor * batch
    return found
