"""The class of the models: Keras' functional model, with the network that it was built from."""

from importlib.util import find_spec
from typing import Any

import keras

import spec
from spec.families import config_type

# What Keras' own exporter to ONNX imports, by what Keras runs on.
EXPORTERS = {"tensorflow": ("tf2onnx",), "torch": ("onnx", "onnxscript"), "jax": ("jax2onnx",)}


@keras.saving.register_keras_serializable("densenet_keras")
class Functional(keras.Model):
    """A functional keras.Model that knows its network, also when it comes out of a .keras file.

    `network` is None in a clone, and where the file came from a network that was made by hand.
    """

    __module__ = "keras.src.models.functional"  # written to files: without this package they open as Keras' own class

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, *, network: spec.Network | None = None, **kwargs: Any
    ) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)
        self.network = network

    def get_config(self) -> dict[str, Any]:
        """Keras' config, with the network's in the entry of the first layer, where Keras overlooks it."""
        config = super().get_config()
        if self.network is not None and self.network.config is not None:
            config["layers"][0]["network"] = {
                "name": self.network.name,
                "config": self.network.config.model_dump(mode="json"),
                "headless": self.network.num_classes is None,
            }
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Functional":
        """The model of a config, with its network where the config has one."""
        written = config["layers"][0].get("network")
        model = super().from_config(config, custom_objects)
        model.network = None if written is None else _network(**written)
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as a keras.Model is: by its .keras file, which Keras' class opens, as its name is found."""
        return keras.Model._unpickle_model, *super().__reduce__()[1:]

    def export(self, filepath: Any, format: str = "tf_saved_model", *args: Any, **kwargs: Any) -> None:
        """Keras' export; raises SpecError for "onnx" where what Keras needs for that is not installed."""
        needed = EXPORTERS[keras.config.backend()] if format == "onnx" else ()
        missing = [package for package in needed if find_spec(package) is None]
        if missing:
            raise spec.SpecError(
                f"Keras on {keras.config.backend()} exports to ONNX by {missing[0]}, which is not installed: "
                f"pip install {' '.join(missing)}, or give densenet export what spec.save writes"
            )
        super().export(filepath, format, *args, **kwargs)


def _network(name: str, config: dict[str, Any], headless: bool) -> spec.Network:
    """What get_config has written, built again; raises SpecError as the config of any file does."""
    network = spec.build(config_type(config.get("family"))(**config), name)
    return network.headless if headless else network
