"""Models by name: `densenet121(num_classes=10, weights="densenet121.safetensors")`."""

from pathlib import Path
from typing import Unpack

import spec
from densenet_onnx.interop import load_weights
from densenet_onnx.model import ConvNet, build
from spec.builders import Overrides, builder


def get_model(variant: str, /, weights: str | Path | None = None, **overrides: Unpack[Overrides]) -> ConvNet:
    """A variant by name, in float32: `get_model("densenet121", num_classes=10)`.

    A ConvNet, whose `proto` is the ONNX model: it takes images (batch, C, height, width) of any size that the network
    accepts, and puts out logits (batch, num_classes).

    weights: the path of a .safetensors file with canonical names, which `densenet port` makes of others; without one
        they are drawn as spec.initialize draws them with seed 0.

    The rest are fields of the config: growth_rate, block_config, bn_size, num_classes, in_channels, input_size,
    squeeze_excitation ...; `densenet schema` describes each. Raises spec.SpecError, in one sentence, for any that
    cannot be.
    """
    model = build(spec.variant(variant, **overrides))
    network = model.network
    load_weights(model, spec.read_weights(weights, network) if weights else spec.initialize(network, 0))
    return model


def list_models() -> list[str]:
    """The names that get_model knows."""
    return spec.names()


densenet121 = builder(get_model, "densenet121")
densenet169 = builder(get_model, "densenet169")
densenet201 = builder(get_model, "densenet201")
densenet161 = builder(get_model, "densenet161")
densenet264 = builder(get_model, "densenet264")
densenet40_k12 = builder(get_model, "densenet40_k12")
densenet100_k12 = builder(get_model, "densenet100_k12")
densenet100_k24 = builder(get_model, "densenet100_k24")
densenet100_k12_bc = builder(get_model, "densenet100_k12_bc")
densenet190_k40_bc = builder(get_model, "densenet190_k40_bc")
densenet250_k24_bc = builder(get_model, "densenet250_k24_bc")
densenet40_k12_bc = builder(get_model, "densenet40_k12_bc")
densenet40_k24_bc = builder(get_model, "densenet40_k24_bc")
densenet40_k36_bc = builder(get_model, "densenet40_k36_bc")
densenet40_k48_bc = builder(get_model, "densenet40_k48_bc")
densenet40_k60_bc = builder(get_model, "densenet40_k60_bc")
densenet_d2l = builder(get_model, "densenet_d2l")
se_densenet121 = builder(get_model, "se_densenet121")
se_densenet161 = builder(get_model, "se_densenet161")
se_densenet169 = builder(get_model, "se_densenet169")
se_densenet201 = builder(get_model, "se_densenet201")
lenet = builder(get_model, "lenet")
alexnet = builder(get_model, "alexnet")
vgg11 = builder(get_model, "vgg11")
vgg13 = builder(get_model, "vgg13")
vgg16 = builder(get_model, "vgg16")
vgg19 = builder(get_model, "vgg19")
nin = builder(get_model, "nin")
googlenet = builder(get_model, "googlenet")
resnet18 = builder(get_model, "resnet18")
resnet34 = builder(get_model, "resnet34")
se_resnet18 = builder(get_model, "se_resnet18")
se_googlenet = builder(get_model, "se_googlenet")

__all__ = [
    "alexnet",
    "densenet40_k12",
    "densenet40_k12_bc",
    "densenet40_k24_bc",
    "densenet40_k36_bc",
    "densenet40_k48_bc",
    "densenet40_k60_bc",
    "densenet100_k12",
    "densenet100_k12_bc",
    "densenet100_k24",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet190_k40_bc",
    "densenet201",
    "densenet250_k24_bc",
    "densenet264",
    "densenet_d2l",
    "get_model",
    "googlenet",
    "lenet",
    "list_models",
    "nin",
    "resnet18",
    "resnet34",
    "se_densenet121",
    "se_densenet161",
    "se_densenet169",
    "se_densenet201",
    "se_googlenet",
    "se_resnet18",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
