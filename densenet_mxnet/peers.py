"""The DenseNets of MXNet's model zoo: what one of them makes of the parameters in a file."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock
from mxnet.gluon.model_zoo.vision import DenseNet

import spec
from densenet_mxnet.arrays import legacy_arrays
from spec.families.densenet import DenseNetConfig


def build_peer(network: spec.Network) -> HybridBlock:
    """Their model of the network, not initialized yet."""
    config = network.config
    assert isinstance(config, DenseNetConfig)
    assert config.bn_size is not None
    channels = config.stem.channels or 2 * config.growth_rate
    return DenseNet(channels, config.growth_rate, list(config.block_config), config.bn_size, classes=config.num_classes)


def predict_peer(path: str | Path, network: spec.Network, images: np.ndarray) -> np.ndarray:
    """What their model puts out for images (N, C, H, W) with the parameters of a file, loaded as Gluon itself does."""
    with legacy_arrays():
        model = build_peer(network)
        load_peer(model, path)
        model.cast(str(images.dtype))
        return model(mx.nd.array(images, dtype=images.dtype)).asnumpy()


def load_peer(model: HybridBlock, path: str | Path) -> None:
    """By structure, or by prefix, with that of another process and what export puts before it taken off."""
    arrays = mx.nd.load(str(path))
    model.cast(np.dtype(next(iter(arrays.values())).dtype).name)
    if any("." in name for name in arrays):
        model.load_parameters(str(path))
        return
    with TemporaryDirectory() as folder:
        bare = {re.sub(r"^(arg:|aux:)?(densenet\d+_)*", "", name): array for name, array in arrays.items()}
        mx.nd.save(f"{folder}/bare.params", bare)
        model.load_parameters(f"{folder}/bare.params")
