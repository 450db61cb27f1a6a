"""The families of networks: each a config, whose `nodes` does all of its channel arithmetic."""

from spec.config import NetworkConfig
from spec.errors import SpecError, nearest
from spec.families.alexnet import AlexNetConfig
from spec.families.densenet import DenseNetConfig
from spec.families.googlenet import GoogLeNetConfig
from spec.families.lenet import LeNetConfig
from spec.families.nin import NiNConfig
from spec.families.resnet import ResNetConfig
from spec.families.vgg import VGGConfig

CONFIGS = (DenseNetConfig, LeNetConfig, AlexNetConfig, VGGConfig, NiNConfig, GoogLeNetConfig, ResNetConfig)
FAMILIES: dict[str, type[NetworkConfig]] = {config.model_fields["family"].default: config for config in CONFIGS}


def config_type(family: object) -> type[NetworkConfig]:
    """The config of a family; raises SpecError for an unknown one."""
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecError(f"family: unknown {family!r}, {nearest(str(family), FAMILIES)}")
    return FAMILIES[family]
