"""What other implementations of DenseNet can be: the fields that they have no choice of."""

from typing import Any

import spec
from densenet_tools.porting.formats import Format
from spec.families.densenet import DenseNetConfig, Stem

# keras.applications.densenet, of Keras 3.15, and mxnet.gluon.model_zoo.vision.densenet, of MXNet 1.9.1.
FIXED: dict[Format, dict[str, Any]] = {
    Format.APPLICATIONS: {
        "growth_rate": 32,
        "bn_size": 4,
        "compression": 0.5,
        "stem": Stem(),
        "squeeze_excitation": None,
        "conv_bias": False,
        "eps": 1.001e-5,
        "classifier_activation": None,
    },
    Format.ZOO: {
        "compression": 0.5,
        "squeeze_excitation": None,
        "conv_bias": False,
        "eps": 1e-5,
        "classifier_activation": None,
        "input_size": 224,  # its head pools 7 x 7 pixels, which are all that are left of these, and of no others
    },
}
BLOCKS = {Format.APPLICATIONS: ((6, 12, 24, 16), (6, 12, 32, 32), (6, 12, 48, 32))}  # that it has models of


def check_peer(format: Format, network: spec.Network) -> None:
    """Raises SpecError, naming a field, for a network that the implementation cannot be."""
    config, refused = network.config, f"the DenseNet of {format.value} cannot be {network.name}"
    if not isinstance(config, DenseNetConfig):
        raise spec.SpecError(f"{refused}: it is no DenseNet")
    for name, value in FIXED[format].items():
        if getattr(config, name) != value:
            raise spec.SpecError(f"{refused}: it has {name} {value}, not {getattr(config, name)}")
    if config.block_config not in BLOCKS.get(format, (config.block_config,)):
        raise spec.SpecError(f"{refused}: it has none of block_config {config.block_config}")
    if format is Format.ZOO and (config.bn_size is None or config.stem != Stem(channels=config.stem.channels)):
        raise spec.SpecError(f"{refused}: it has bottlenecks, and the ImageNet networks' stem")
