"""A whole network as one functional Keras model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import keras

import spec
from densenet_keras import blocks, inception, parallel, residual  # noqa: F401 (they register what they build)
from densenet_keras.compat import count_devices
from densenet_keras.functional import Functional

_building = RLock()


def build(
    network: spec.Network,
    dtype: str | None = None,
    data_format: str | None = None,
    inputs: Any = None,
    name: str | None = None,
) -> keras.Model:
    """A native model of `network` for images of any size that it accepts, or on the symbolic `inputs`.

    `dtype` ("float32", "float64", or a policy such as "mixed_float16") and `data_format`
    ("channels_last" or "channels_first") default to Keras' global settings, `name` to the network's. Layers
    are named by their dotted path: `model.get_layer("features.denseblock1.denselayer1.conv1")`.
    """
    if not isinstance(network, spec.Network):
        raise TypeError(f"build takes a spec.Network, found {network!r}: see spec.variant and spec.load")
    with settings(dtype, data_format):
        inputs = image_input(network) if inputs is None else inputs
        outputs = blocks.sequential(network.root, inputs, "")
    sources = keras.utils.get_source_inputs(inputs)  # where layers made `inputs`, the model starts where they do
    inputs = sources[0] if len(sources) == 1 else sources
    return Functional(inputs, outputs, name=name or scope(network.name), network=network)


@contextmanager
def device(name: str) -> Iterator[None]:
    """Models built within are on that device: cpu, gpu or gpu:1, say. Raises SpecError where it is not there."""
    kind, index = spec.device_of(name)
    there = count_devices(kind)
    if index >= there:
        raise spec.SpecError(
            f"device {name!r} is not there: Keras on {keras.backend.backend()} finds {there} of that kind; use cpu"
        )
    with keras.device(kind if kind == "cpu" else f"{kind}:{index}"):  # on "cpu:0" PyTorch's variables are copies
        yield


def scope(name: str) -> str:
    """A network's name, which may be that of any file, as TensorFlow takes it for a scope."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip("_-") or "network"


def image_input(network: spec.Network, height: int | None = None, width: int | None = None) -> Any:
    """The symbolic input; None stands for any height or width."""
    channels = network.in_channels
    first = keras.config.image_data_format() == "channels_first"
    shape = (channels, height, width) if first else (height, width, channels)
    return keras.Input(shape, dtype=keras.config.dtype_policy().variable_dtype, name="input")


@contextmanager
def settings(dtype: str | None, data_format: str | None) -> Iterator[None]:
    """Keras' global dtype policy and data format, set for one thread at a time; None leaves one as it is."""
    with _building:
        policy, layout = keras.config.dtype_policy(), keras.config.image_data_format()
        try:
            if dtype is not None:
                keras.config.set_dtype_policy(dtype)
            keras.config.set_image_data_format(data_format or layout)
            yield
        finally:
            if dtype is not None:  # setting a policy, even the one in force, would outdo a later set_floatx
                keras.config.set_dtype_policy(policy)
            keras.config.set_image_data_format(layout)
