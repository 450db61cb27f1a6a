"""Models by name, with keras.applications' signatures: `DenseNet121(include_top=True, weights=None, classes=1000)`."""

from pathlib import Path
from typing import Any

import keras

import spec
from densenet_keras.interop import load_weights
from densenet_keras.model import build, image_input
from spec.builders import builder

Shape = tuple[int | None, int | None, int | None]
POOLING = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def get_model(
    variant: str,
    /,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_tensor: Any = None,
    input_shape: Shape | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    **overrides: Any,
) -> keras.Model:
    """A variant by name: `get_model("densenet121", classes=10)`.

    The arguments are those of keras.applications.DenseNet121; without the top the output is the last
    feature map, or its `pooling` ("avg" or "max"). `weights` is the path of a .safetensors file with
    canonical names; with `include_top=False` those of the top are left aside. `classes` is
    num_classes under Keras' name; `overrides` are other fields of spec.DenseNetConfig.
    """
    if classes is not None:
        overrides["num_classes"] = classes
    channels_last = keras.config.image_data_format() == "channels_last"
    if input_tensor is not None:
        input_shape = tuple(input_tensor.shape[1:])
    if input_shape is not None:
        if len(input_shape) != 3:
            order = "(height, width, channels)" if channels_last else "(channels, height, width)"
            raise spec.SpecError(f"input_shape must be {order}, found {tuple(input_shape)}")
        overrides["in_channels"] = input_shape[-1 if channels_last else 0]
    network = spec.variant(variant, classifier_activation=classifier_activation, **overrides)
    height, width = _size(network, input_shape, include_top, channels_last)
    inputs = image_input(network, height, width) if input_tensor is None else input_tensor
    model = build(network if include_top else network.headless, inputs=inputs, name=name)
    if not include_top and pooling is not None:
        model = _pooled(model, pooling)
    if weights is not None:
        found = spec.read_weights(weights, network)
        body = tuple(f"{child}." for child, _ in network.body.children)
        load_weights(model, found if include_top else {k: a for k, a in found.items() if k.startswith(body)})
    return model


def list_models() -> list[str]:
    """The names that get_model knows."""
    return spec.names()


def _pooled(model: keras.Model, pooling: str) -> keras.Model:
    """The model with its last feature map pooled to a vector."""
    if pooling not in POOLING:
        raise spec.SpecError(f"pooling must be 'avg', 'max' or None, found {pooling!r}")
    outputs = POOLING[pooling](name=f"{pooling}_pool")(model.output)
    pooled = keras.Model(model.inputs[0], outputs, name=model.name)
    pooled.network = model.network
    return pooled


def _size(
    network: spec.Network, input_shape: Shape | None, include_top: bool, channels_last: bool
) -> tuple[int | None, int | None]:
    """Height and width of the input: as asked for, else the published ones with the top and any without."""
    if input_shape is None:
        return network.input_shape[1:] if include_top else (None, None)
    height, width = input_shape[:2] if channels_last else input_shape[1:]
    network.check_input_shape((network.in_channels, height or network.min_size, width or network.min_size))
    return height, width


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

# keras.applications' names for those that it has, and for their relatives.
DenseNet121 = densenet121
DenseNet161 = densenet161
DenseNet169 = densenet169
DenseNet201 = densenet201
DenseNet264 = densenet264
SEDenseNet121 = se_densenet121
SEDenseNet161 = se_densenet161
SEDenseNet169 = se_densenet169
SEDenseNet201 = se_densenet201
VGG16 = vgg16
VGG19 = vgg19

__all__ = [
    "VGG16",
    "VGG19",
    "DenseNet121",
    "DenseNet161",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
    "SEDenseNet121",
    "SEDenseNet161",
    "SEDenseNet169",
    "SEDenseNet201",
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
