"""What the public builders build, by number: each variant is held against the reference in tests/test_parity.py.

Here are their names, and every value of every option, on one network made small.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import spec
from densenet_tools.parity.differences import difference
from densenet_tools.parity.tolerance import OUTPUTS
from spec import reference
from spec.builders import Fields, Overrides, network
from spec.families import CONFIGS
from tests.cases import VARIANTS
from tests.support import loaded, require
from tests.test_dropout import from_native, native, to_native

NAME = "densenet40_k12_bc"
FIELDS = {"growth_rate": 4, "block_config": [1, 1]}


def small(**overrides: Any) -> spec.Network:
    """The variant as the builders below make it small."""
    return spec.variant(NAME, **FIELDS | overrides)


def builders(backend_name: str) -> list[str]:
    """The names that a backend exports builders under, its other names for them included."""
    require(backend_name)
    names = importlib.import_module(f"densenet_{backend_name}.variants").__all__
    return [name for name in names if name not in ("get_model", "list_models")]


def variant_of(name: str) -> str:
    """The variant that a builder builds by its name: DenseNet121 is densenet121, SEDenseNet121 se_densenet121."""
    return re.sub("^se(?=[a-z])", "se_", name.lower())


def test_every_variant_has_a_builder_of_its_name(backend_name):
    """Which the comparison of variants in float32 builds them with."""
    backend = require(backend_name)
    names = [name for name in builders(backend_name) if name == name.lower()]
    assert [getattr(backend, name).__name__ for name in names] == names
    assert sorted(names) == sorted(VARIANTS)
    assert len({getattr(backend, name) for name in names}) == len(names)


def test_another_name_is_the_very_builder(backend_name):
    backend = require(backend_name)
    others = [name for name in builders(backend_name) if name != name.lower()]
    for name in others:
        assert getattr(backend, name) is getattr(backend, variant_of(name)), name
    assert bool(others) == (backend_name == "keras")


def test_what_keras_applications_has_too_has_its_name():
    names = builders("keras")
    import keras

    theirs = {name for name in vars(keras.applications) if name.lower() in spec.names() and name != name.lower()}
    assert theirs == {"DenseNet121", "DenseNet169", "DenseNet201", "VGG16", "VGG19"}
    assert theirs <= set(names)


@dataclass(frozen=True)
class Option:
    """Arguments of a builder, and what the model that it builds must put out for a batch of images.

    That is `then` of what the reference puts out for `network`.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    network: spec.Network = field(default_factory=small)
    then: Callable[[np.ndarray], np.ndarray] = np.asarray


def images(network: spec.Network, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *(shape or network.input_shape))).astype(np.float32)


def weights_of(network: spec.Network) -> spec.Weights:
    return spec.randomize(spec.initialize(network, 0), 0)


def written(network: spec.Network, folder: Path) -> Path:
    """A file with the weights of the whole network, the classifier's included."""
    save_file(weights_of(network), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def expected(network: spec.Network, batch: np.ndarray) -> np.ndarray:
    weights = {name: weights_of(network)[name].astype(np.float64) for name in spec.parameter_shapes(network)}
    return reference.predict(loaded(reference, network, weights), batch)


def departure(found: np.ndarray, right: np.ndarray) -> float:
    return difference(found, right)[1]


def in_inference(backend_name: str, model: Any, batch: np.ndarray) -> np.ndarray:
    """What the framework's users get."""
    way = next(iter(native(backend_name, training=False).values()))
    return from_native(backend_name, way(model, to_native(backend_name, batch)))


SOFTMAX, BODY = small(classifier_activation="softmax"), small().headless
KERAS = {
    "nothing": Option({}, SOFTMAX),
    "classifier_activation=softmax": Option({"classifier_activation": "softmax"}, SOFTMAX),
    "classifier_activation=None": Option({"classifier_activation": None}),
    "classes": Option({"classes": 7}, small(classifier_activation="softmax", num_classes=7)),
    "input_shape": Option({"input_shape": (2, 20, 24)}, small(classifier_activation="softmax", in_channels=2)),
    "input_shape of any size": Option({"input_shape": (3, None, None)}, SOFTMAX),
    "include_top=True": Option({"include_top": True}, SOFTMAX),
    "include_top=True, pooling": Option({"include_top": True, "pooling": "max"}, SOFTMAX),
    "include_top=False": Option({"include_top": False}, BODY),
    "include_top=False, pooling=None": Option({"include_top": False, "pooling": None}, BODY),
    "pooling=avg": Option({"include_top": False, "pooling": "avg"}, BODY, partial(np.mean, axis=(2, 3))),
    "pooling=max": Option({"include_top": False, "pooling": "max"}, BODY, partial(np.max, axis=(2, 3))),
    "name": Option({"name": "mine"}, SOFTMAX),
    "a field": Option({"bn_size": 2}, small(classifier_activation="softmax", bn_size=2)),
}


@pytest.fixture
def in_layout():
    """Sets Keras' global layout of maps, which its builders follow, and puts it back."""
    require("keras")
    import keras

    before = keras.config.image_data_format()
    yield keras.config.set_image_data_format
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("option", KERAS)
def test_options_of_keras(option, layout, in_layout, tmp_path):
    """In both layouts; `weights` are those of the whole network, with the top and without."""
    import densenet_keras

    in_layout(layout)
    arguments, network = dict(KERAS[option].arguments), KERAS[option].network
    published = network.input_shape if arguments.get("include_top", True) else (3, None, None)
    shape = arguments.pop("input_shape", None)
    if shape is not None:
        arguments["input_shape"] = ordered(shape, layout)
    whole = network if network.num_classes else small()
    model = densenet_keras.densenet40_k12_bc(weights=written(whole, tmp_path), **FIELDS | arguments)
    assert model.name == arguments.get("name", NAME)
    channels, height, width = shape or published
    assert model.input_shape == (None, *ordered((channels, height, width), layout))
    batch = images(network, (channels, height or 20, width or 28))
    found = in_inference("keras", model, batch)
    assert departure(found, KERAS[option].then(expected(network, batch))) <= OUTPUTS["float32"]


def ordered(shape: tuple, layout: str) -> tuple:
    """(C, H, W) as a layout has it."""
    return shape if layout == "channels_first" else (*shape[1:], shape[0])


@pytest.mark.parametrize("factor", [None, 2.0], ids=["an input", "the output of a layer"])
def test_an_input_tensor_of_keras_is_what_the_network_starts_from(factor, tmp_path):
    """With the layers that made it, as in keras.applications: its model starts where they do."""
    require("keras")
    import keras

    import densenet_keras

    inputs = keras.Input((20, 24, 3) if keras.config.image_data_format() == "channels_last" else (3, 20, 24))
    tensor = keras.layers.Rescaling(factor)(inputs) if factor else inputs
    weights = written(small(), tmp_path)
    model = densenet_keras.densenet40_k12_bc(input_tensor=tensor, weights=weights, **FIELDS)
    batch = images(small(), (3, 20, 24))
    right = expected(SOFTMAX, (factor or 1.0) * batch)
    assert departure(in_inference("keras", model, batch), right) <= OUTPUTS["float32"]
    assert departure(expected(SOFTMAX, 3.0 * batch), right) > 1000 * OUTPUTS["float32"], "another factor would show"


TORCH = {
    "nothing": Option(),
    "num_classes": Option({"num_classes": 7}, small(num_classes=7)),
    "progress=True": Option({"progress": True}),
    "progress=False": Option({"progress": False}),
    "classifier_activation": Option({"classifier_activation": "softmax"}, SOFTMAX),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("option", TORCH)
def test_options_of_torch(option, suffix, tmp_path):
    """With weights of each kind of file; a checkpoint is the state dict of a model."""
    backend = require("torch")
    import torch

    network, file = TORCH[option].network, written(TORCH[option].network, tmp_path)
    if suffix != ".safetensors":
        file = file.with_suffix(suffix)
        torch.save(loaded(backend, network, weights_of(network)).state_dict(), file)
    model = backend.densenet40_k12_bc(weights=file, **FIELDS | TORCH[option].arguments)
    batch = images(network)
    assert departure(in_inference("torch", model, batch), expected(network, batch)) <= OUTPUTS["float32"]


@pytest.mark.parametrize("name", ["lenet", NAME])
def test_forward_features_of_torch_are_what_comes_before_the_head(name):
    backend = require("torch")
    import torch

    network = spec.variant(name, **FIELDS if name == NAME else {})
    batch = images(network)
    model = loaded(backend, network, weights_of(network)).eval()
    with torch.no_grad():
        found = from_native("torch", model.forward_features(to_native("torch", batch)))
    assert departure(found, expected(network.headless, batch)) <= OUTPUTS["float32"]


MXNET = {
    "nothing": Option(),
    "classes": Option({"classes": 7}, small(num_classes=7)),
    "num_classes": Option({"num_classes": 7}, small(num_classes=7)),
    "classifier_activation": Option({"classifier_activation": "softmax"}, SOFTMAX),
}


@pytest.mark.parametrize("places", [None, (0,), (1,), (0, 1)], ids=["nowhere", "cpu(0)", "cpu(1)", "both"])
@pytest.mark.parametrize("option", MXNET)
def test_options_of_mxnet(option, places, tmp_path):
    """With the weights on each `ctx`: MXNet takes any number of the one processor for a device of its own."""
    backend = require("mxnet")
    import mxnet as mx

    contexts = None if places is None else [mx.cpu(place) for place in places]
    ctx = contexts[0] if contexts and len(contexts) == 1 else contexts
    network = MXNET[option].network
    weights = written(network, tmp_path)
    model = backend.densenet40_k12_bc(ctx=ctx, weights=weights, **FIELDS | MXNET[option].arguments)
    batch = images(network)
    for context in contexts or [mx.current_context()]:
        logits = model(mx.nd.array(batch, ctx=context))
        assert logits.context == context
        assert departure(logits.asnumpy(), expected(network, batch)) <= OUTPUTS["float32"]
    used = {context for parameter in model.collect_params().values() for context in parameter.list_ctx()}
    assert used == set(contexts or [mx.current_context()])


WORDS = {"drop_rate": "dropout", "num_init_features": "stem.channels"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"drop_rate": 2}, "densenet121: drop_rate: should be less than 1, found 2"),
        ({"dropout": 2}, "densenet121: dropout: should be less than 1, found 2"),
        ({"num_init_features": 0}, "densenet121: num_init_features: should be greater than 0, found 0"),
        ({"drop_rate": 0.1, "dropout": 0.2}, "densenet121: drop_rate and dropout are the same, found both"),
        ({"stem": {"channels": 3}, "num_init_features": 4}, "densenet121: stem and num_init_features are the same"),
    ],
)
def test_errors_speak_the_language_of_who_asked(given, sentence):
    with pytest.raises(spec.SpecError, match=f"^{re.escape(sentence)}"):
        network("densenet121", given, WORDS)


def test_a_word_for_a_field_inside_leaves_those_beside_it():
    found = network("densenet121", {"num_init_features": 8, "stem": {"padding": 2}}, WORDS).config
    assert (found.stem.channels, found.stem.padding, found.stem.kernel_size) == (8, 2, 7)


def test_type_checkers_know_every_field():
    """Of all families' configs, but for the family itself."""
    known = set(Overrides.__annotations__) | set(Fields.__annotations__)
    fields = {name for config in CONFIGS for name in config.model_fields}
    assert known == fields - {"family"}
