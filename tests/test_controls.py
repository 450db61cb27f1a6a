"""Broken twins: small faults that the comparison must catch, and at the layer where they sit."""

import dataclasses
import importlib
import types

import numpy as np
import pytest

import spec
import spec.blocks
import spec.layers
from densenet_tools import backends
from densenet_tools.parity import compare
from tests.cases import SMALL, small, squeezed
from tests.conftest import require

NETWORK = small(bn_size=4, compression=0.5, **squeezed("final"))


def twin(monkeypatch, **changed) -> None:
    """Replaces functions of PyTorch's backend."""
    names = ("build", "load_weights", "export_weights", "predict", "trace")
    functions = {name: getattr(require("torch"), name) for name in names} | changed
    original = backends.get
    monkeypatch.setattr(
        backends, "get", lambda name: types.SimpleNamespace(**functions) if name == "torch" else original(name)
    )


def problem(network: spec.Network = NETWORK, dtype: str = "float32") -> str | None:
    images = np.random.default_rng(0).normal(size=(2, *network.input_shape))
    (result,) = compare(network, ["torch"], images, dtype)
    assert result.agrees == (result.problem is None)
    return result.problem


def replaced(node, kind, **changes):
    """The tree with `changes` made to every node of a kind."""
    if isinstance(node, kind):
        return dataclasses.replace(node, **changes)
    if isinstance(node, spec.Sequential):
        return spec.Sequential(tuple((name, replaced(child, kind, **changes)) for name, child in node.children))
    if isinstance(node, spec.blocks.DenseBlock):
        return spec.blocks.DenseBlock(tuple(replaced(layer, kind, **changes) for layer in node.layers))
    return node


def build_of_another_spec(kind, **changes):
    def build(network, dtype):
        other = dataclasses.replace(network, root=replaced(network.root, kind, **changes))
        return importlib.import_module("densenet_torch").build(other, dtype=dtype)

    return build


def test_the_unchanged_twin_passes(monkeypatch):
    twin(monkeypatch)
    assert problem() is None
    assert problem(dtype="float64") is None


@pytest.mark.parametrize(
    ("kind", "changes", "layer"),
    [
        (spec.layers.BatchNorm, {"eps": 1e-3}, "features.norm0"),
        (spec.layers.BatchNorm, {"eps": 1.1e-4}, "features.norm0"),
        (spec.blocks.DenseLayer, {"eps": 1e-3}, "features.denseblock1.denselayer1.norm1"),
        (spec.blocks.Transition, {"eps": 1e-3}, "features.transition1.norm"),
        (spec.layers.Conv, {"padding": 2}, "features.conv0"),
        (spec.layers.Conv, {"stride": 3}, "features.conv0"),
    ],
)
def test_another_number_is_caught_at_its_layer(monkeypatch, kind, changes, layer):
    twin(monkeypatch, build=build_of_another_spec(kind, **changes))
    assert f"first at layer {layer} " in problem()


def test_an_epsilon_of_1001e5_as_in_keras_applications_is_caught_in_float64(monkeypatch):
    twin(monkeypatch, build=build_of_another_spec(spec.layers.BatchNorm, eps=1.001e-5))
    assert "first at layer features.norm0 " in problem(dtype="float64")


def test_a_missing_or_extra_bias_is_caught_by_the_counts(monkeypatch):
    twin(
        monkeypatch, build=build_of_another_spec(spec.layers.Conv, bias=True), load_weights=lambda model, weights: None
    )
    assert "parameters" in problem()


def patched(change):
    """PyTorch's build with `change` applied to the model."""

    def build(network, dtype):
        model = importlib.import_module("densenet_torch").build(network, dtype=dtype)
        change(model)
        return model

    return build


def swap_concatenation(model):
    import torch

    layer = model.features.denseblock1.denselayer2
    layer.forward = lambda x: torch.cat(
        [layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x)))))), x], dim=1
    )


def swap_norm_and_relu(model):
    transition = model.features.transition1
    transition.forward = lambda x: transition.pool(transition.conv(transition.norm(transition.relu(x.clone()))))


def drop_last_relu(model):
    import torch

    model.relu = torch.nn.Identity()


def same_padding(model):
    import torch

    conv = model.features.conv0
    conv.forward = lambda x: torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (2, 3, 2, 3)), conv.weight, conv.bias, stride=2
    )


def ceil_mode(model):
    model.features.transition1.pool.ceil_mode = True


def skip_excitation(model):
    import torch

    model.features.se = torch.nn.Identity()


def stay_in_training_mode(model):
    model.features.norm5.eval = model.features.norm5.train = lambda *_: model.features.norm5
    model.features.norm5.training = True


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        (swap_concatenation, "features.denseblock1.denselayer2"),
        (swap_norm_and_relu, "features.transition1.norm"),
        (drop_last_relu, "relu"),
        (same_padding, "features.conv0"),
        (ceil_mode, "features.transition1.pool"),
    ],
)
def test_a_changed_computation_is_caught_at_its_layer(monkeypatch, change, layer):
    twin(monkeypatch, build=patched(change))
    network = dataclasses.replace(NETWORK, input_shape=(3, 42, 42))
    assert f"first at layer {layer} " in problem(network)


def test_max_pool_padding_with_zeros_is_caught_before_a_relu(monkeypatch):
    import torch

    def zero_padding(model):
        pool = model.features.pool0
        pool.forward = lambda x: torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1)), 3, 2)

    twin(monkeypatch, build=patched(zero_padding))
    assert "first at layer features.pool0 " in problem(SMALL["pool_on_negatives"])
    assert problem(NETWORK) is None, "after a ReLU the two are the same"


def loaded(change):
    """PyTorch's load_weights with `change` applied to a copy of the weights."""

    def load_weights(model, weights):
        weights = dict(weights)
        change(weights)
        importlib.import_module("densenet_torch").load_weights(model, weights)

    return load_weights


def flip_kernels(weights):
    name = "features.denseblock1.denselayer1.conv2.weight"
    weights[name] = weights[name][:, :, ::-1, ::-1].copy()


def transpose_kernels(weights):
    name = "features.conv0.weight"
    weights[name] = weights[name].swapaxes(2, 3).copy()


def forget_running_variance(weights):
    name = "features.norm5.running_var"
    weights[name] = np.ones_like(weights[name])


def exchange_neighbours(weights):
    a, b = (f"features.denseblock1.denselayer{i}.conv2.weight" for i in (1, 2))
    weights[a], weights[b] = weights[b], weights[a]


def exchange_scale_and_shift(weights):
    weights["features.norm0.weight"], weights["features.norm0.bias"] = (
        weights["features.norm0.bias"],
        weights["features.norm0.weight"],
    )


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        (flip_kernels, "features.denseblock1.denselayer1.conv2"),
        (transpose_kernels, "features.conv0"),
        (forget_running_variance, "features.norm5"),
        (exchange_neighbours, "features.denseblock1.denselayer1.conv2"),
        (exchange_scale_and_shift, "features.norm0"),
    ],
)
def test_weights_that_mean_something_else_are_caught_at_their_layer(monkeypatch, change, layer):
    twin(monkeypatch, load_weights=loaded(change))
    assert f"first at layer {layer} " in problem()


def test_training_mode_left_on_is_caught(monkeypatch):
    twin(monkeypatch, build=patched(stay_in_training_mode))
    assert "first at layer features.norm5 " in problem()


def test_a_skipped_module_is_caught_by_the_counts(monkeypatch):
    twin(monkeypatch, build=patched(skip_excitation), load_weights=lambda model, weights: None)
    assert "parameters" in problem()
