"""Other ways to run the same model: each takes a model and images (N, C, H, W), and returns the logits."""

import numpy as np

from densenet_mxnet.interop import predict
from densenet_mxnet.model import ConvNet
from spec.threads import one_at_a_time


def hybridized(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """As one symbolic graph."""
    return _hybridized(model, images)


def static(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """As one symbolic graph whose memory and shapes are planned once."""
    return _hybridized(model, images, static_alloc=True, static_shape=True)


@one_at_a_time
def _hybridized(model: ConvNet, images: np.ndarray, **flags: bool) -> np.ndarray:
    model.hybridize(**flags)
    try:
        return predict(model, images)
    finally:
        model.hybridize(False)


EXECUTORS = {"hybridized": hybridized, "static": static}
