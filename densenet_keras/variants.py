"""Models by name, with keras.applications' signatures: `DenseNet121(include_top=True, weights=None, classes=1000)`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import keras

import spec
from densenet_keras.applications import activation_of, read_weights
from densenet_keras.functional import Functional
from densenet_keras.interop import load_weights
from densenet_keras.model import build, image_input
from spec.builders import Fields, builder, network as variant_network

Shape = tuple[int | None, int | None, int | None]
POOLING = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
WORDS = {"classes": "num_classes", "input_shape": "in_channels"}  # Keras' words for fields of the config


def get_model(
    variant: str,
    /,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_tensor: Any = None,
    input_shape: Shape | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | Callable[..., Any] | None = "softmax",
    name: str | None = None,
    **overrides: Unpack[Fields],
) -> keras.Model:
    """A variant by name: `get_model("densenet121", classes=10)`.

    The arguments are those of keras.applications.DenseNet121, in its order:

    include_top: with the classifier; without, the output is the last feature map, or its `pooling`.
    weights: None, or the path of a .safetensors file with canonical names, which `densenet port` makes of others;
        with `include_top=False` those of the top are left aside. Nothing is downloaded.
    input_tensor: a symbolic tensor to start from, the output of keras.Input or of a layer.
    input_shape: (height, width, channels), or (channels, height, width) where Keras' global data format is
        "channels_first"; None for a height and width of any size. With the top it defaults to the published one.
    pooling: "avg" or "max", without the top: a vector for each image; None: the map.
    classes: how many, default as published.
    classifier_activation: "softmax", the default, "sigmoid", or None for logits, which losses take with
        `from_logits=True` and `loss_and_gradients` and `step` need.
    name: of the model; default: the variant's.

    `overrides` are other fields of its config (spec.DenseNetConfig): growth_rate, block_config, bn_size, compression,
    dropout, stem, squeeze_excitation, eps, decay ... Layers are named by their dotted path,
    `model.get_layer("features.denseblock1.denselayer1.conv1")`. Data format and dtype policy are Keras' global ones.
    Raises SpecError, one sentence, for what cannot be built or loaded.
    """
    channels_last = keras.config.image_data_format() == "channels_last"
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            found = type(input_tensor).__name__
            raise spec.SpecError(f"input_tensor must be symbolic, as keras.Input and layers give, found {found}")
        input_shape = tuple(input_tensor.shape[1:])
    given: dict[str, Any] = {"classifier_activation": activation_of(classifier_activation), **overrides}
    if classes is not None:
        given["classes"] = classes
    if input_shape is not None:
        given["input_shape"] = _channels(input_shape, channels_last)
    network = variant_network(variant, given, WORDS)
    height, width = _size(network, input_shape, include_top, channels_last)
    arrays = None if weights is None else read_weights(weights, network)
    inputs = image_input(network, height, width) if input_tensor is None else input_tensor
    model = build(network if include_top else network.headless, inputs=inputs, name=name)
    if not include_top and pooling is not None:
        model = _pooled(model, pooling)
    if arrays is not None:
        body = tuple(f"{child}." for child, _ in network.body.children)
        load_weights(model, arrays if include_top else {k: a for k, a in arrays.items() if k.startswith(body)})
    return model


def list_models() -> list[str]:
    """The names that get_model knows."""
    return spec.names()


def _pooled(model: keras.Model, pooling: str) -> keras.Model:
    """The model with its last feature map pooled to a vector."""
    if pooling not in POOLING:
        raise spec.SpecError(f"pooling must be 'avg', 'max' or None, found {pooling!r}")
    outputs = POOLING[pooling](name=f"{pooling}_pool")(model.output)
    return Functional(model.inputs[0], outputs, name=model.name, network=model.network)


def _channels(input_shape: Shape, channels_last: bool) -> int | None:
    """How many the images have; raises SpecError for what is no shape of images."""
    if len(input_shape) != 3:
        order = "(height, width, channels)" if channels_last else "(channels, height, width)"
        raise spec.SpecError(f"input_shape must be {order}, found {tuple(input_shape)}")
    return input_shape[-1 if channels_last else 0]


def _size(
    network: spec.Network, input_shape: Shape | None, include_top: bool, channels_last: bool
) -> tuple[int | None, int | None]:
    """Height and width of the input: as asked for, else the published ones with the top and any without."""
    if input_shape is None:
        return network.input_shape[1:] if include_top else (None, None)
    height, width = input_shape[:2] if channels_last else input_shape[1:]
    try:
        network.check_input_shape((network.in_channels, height or network.min_size, width or network.min_size))
    except spec.SpecError as error:
        raise spec.SpecError(f"input_shape: {error}") from None
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
