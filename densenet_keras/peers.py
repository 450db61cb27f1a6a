"""keras.applications' DenseNets: what one of them makes of the weights in a file."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import spec
from densenet_keras.compat import float64_kept
from densenet_keras.files import load_native
from densenet_keras.model import settings
from spec.families.densenet import DenseNetConfig

MODELS: dict[tuple[int, ...], Any] = {
    (6, 12, 24, 16): keras.applications.DenseNet121,
    (6, 12, 32, 32): keras.applications.DenseNet169,
    (6, 12, 48, 32): keras.applications.DenseNet201,
}


def build_peer(network: spec.Network, dtype: str = "float32") -> keras.Model:
    """Their model of the network: logits, or without its classifier the last feature map."""
    assert isinstance(network.config, DenseNetConfig)
    channels, height, width = network.input_shape
    with settings(dtype, "channels_last"):
        return MODELS[network.config.block_config](
            include_top=network.num_classes is not None,
            weights=None,
            input_shape=(height, width, channels),
            classes=network.num_classes or 1,
            classifier_activation=None,
        )


@float64_kept()
def predict_peer(path: str | Path, network: spec.Network, images: np.ndarray) -> np.ndarray:
    """What their model puts out for images (N, C, H, W) with the weights of a file, loaded as Keras itself does."""
    model = build_peer(network, str(images.dtype))
    load_native(model, path)
    found = np.array(keras.ops.convert_to_numpy(model(images.transpose(0, 2, 3, 1), training=False)))
    return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
