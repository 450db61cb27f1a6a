"""The families of networks: for each, what describes one of them and what builds it."""

from collections.abc import Callable
from typing import Any

from spec.config import NetworkConfig
from spec.errors import SpecError, nearest
from spec.families.alexnet import AlexNetConfig, alexnet
from spec.families.densenet import DenseNetConfig, densenet
from spec.families.googlenet import GoogLeNetConfig, googlenet
from spec.families.lenet import LeNetConfig, lenet
from spec.families.nin import NiNConfig, nin
from spec.families.resnet import ResNetConfig, resnet
from spec.families.vgg import VGGConfig, vgg
from spec.network import Network

FAMILIES: dict[str, tuple[type[NetworkConfig], Callable[[Any, str], Network]]] = {
    "densenet": (DenseNetConfig, densenet),
    "lenet": (LeNetConfig, lenet),
    "alexnet": (AlexNetConfig, alexnet),
    "vgg": (VGGConfig, vgg),
    "nin": (NiNConfig, nin),
    "googlenet": (GoogLeNetConfig, googlenet),
    "resnet": (ResNetConfig, resnet),
}


def config_type(family: object) -> type[NetworkConfig]:
    """The config of a family; raises SpecError for an unknown one."""
    if family not in FAMILIES:
        raise SpecError(f"family: unknown {family!r}, {nearest(str(family), FAMILIES)}")
    return FAMILIES[str(family)][0]


def build(config: NetworkConfig, name: str) -> Network:
    """The network that a config of any family describes."""
    return next(function for kind, function in FAMILIES.values() if type(config) is kind)(config, name)
