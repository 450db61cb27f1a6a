"""Broken twins: named mutants with one small fault each, and the check that must catch each of them.

A mutant is PyTorch's backend with another spec, a patched model or spoiled weights. The comparison is the one
that `densenet parity` makes; a mutant that survived it would be a hole in the suite.
"""

import dataclasses
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import spec
import spec.blocks
import spec.layers
from densenet_tools import backends
from densenet_tools.parity import compare
from tests.cases import CLASSIC, SMALL, small, squeezed
from tests.conftest import require

NETWORK = small(bn_size=4, compression=0.5, **squeezed("final"))


@dataclass(frozen=True)
class Mutant:
    """A fault, the network it shows in, and a part of the sentence that must report it."""

    caught_by: str
    network: spec.Network = NETWORK
    nodes: Callable[[spec.Network], spec.Network] | None = None
    model: Callable[[Any], None] | None = None
    weights: Callable[[spec.Weights], None] | None = None
    gradients: Callable[[spec.Weights], None] | None = None
    strict: bool = True


def at(layer: str) -> str:
    return f"first at layer {layer} "


COUNTS = "parameters and"
GRADIENTS = "in gradients, most at "
STATISTICS = "in statistics, most at "


def replaced(network: spec.Network, kind: type, **changes: Any) -> spec.Network:
    """The network with `changes` made to every node of a kind."""

    def change(node):
        if isinstance(node, kind):
            return dataclasses.replace(node, **{k: v(node) if callable(v) else v for k, v in changes.items()})
        if isinstance(node, spec.Sequential):
            return spec.Sequential(tuple((name, change(child)) for name, child in node.children))
        if isinstance(node, spec.blocks.DenseBlock):
            return spec.blocks.DenseBlock(tuple(change(layer) for layer in node.layers))
        return node

    return dataclasses.replace(network, root=change(network.root))


def every(kind: type, **changes: Any) -> Callable[[spec.Network], spec.Network]:
    return lambda network: replaced(network, kind, **changes)


def reordered(network: spec.Network) -> spec.Network:
    """Squeeze-and-excitation after the last norm instead of before it."""
    (name, features), *head = network.root.children
    *body, se, norm = features.children
    return dataclasses.replace(network, root=spec.Sequential(((name, spec.Sequential((*body, norm, se))), *head)))


def swap_concatenation(model):
    import torch

    layer = model.features.denseblock1.denselayer2
    layer.forward = lambda x: torch.cat(
        [layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x)))))), x], dim=1
    )


def detach_skip_connection(model):
    import torch

    layer = model.features.denseblock1.denselayer2
    layer.forward = lambda x: torch.cat(
        [x.detach(), layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x))))))], dim=1
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


def pool_over_zeros(model):
    import torch

    pool = model.features.pool0
    pool.forward = lambda x: torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1)), 3, 2)


def squeeze_by_maximum(model):
    import torch

    model.features.se.pool = torch.nn.AdaptiveMaxPool2d(1)


def stay_in_training_mode(model):
    norm = model.features.norm5
    norm.train = lambda *_: norm
    norm.training = True


def flatten_channels_last(model):
    model.flatten.forward = lambda x: x.permute(0, 2, 3, 1).flatten(1)


def project_nothing(model):
    """An identity shortcut where the stride asks for a projection: every second pixel, zeros for new channels."""
    import torch

    conv = model.layer1.downsample[0]
    model.layer1.downsample.forward = lambda x: (
        torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 2)) + 0 * conv(x)
    )


def add_after_relu(model):
    import torch

    block = model.layer1
    block.forward = lambda x: torch.relu(block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(x)))))) + x


def exchange_branches(model):
    import torch

    block = model.a
    block.forward = lambda x: torch.cat(
        [
            block.relu1(block.conv1(x)),
            block.relu3(block.conv3(block.reduce3(x))),
            block.relu2(block.conv2(block.reduce2(x))),
            block.relu4(block.conv4(block.pool4(x))),
        ],
        dim=1,
    )


def spoiled(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[spec.Weights], None]:
    return lambda weights: weights.update({name: change(weights[name])})


def exchanged(a: str, b: str) -> Callable[[spec.Weights], None]:
    return lambda weights: weights.update({a: weights[b], b: weights[a]})


LAYER = "features.denseblock1.denselayer1"
BatchNorm = spec.layers.BatchNorm
MUTANTS = {
    "epsilon 1e-3": Mutant(at("features.norm0"), nodes=every(BatchNorm, eps=1e-3)),
    "epsilon 1.001e-5": Mutant(at("features.norm0"), nodes=every(BatchNorm, eps=1.001e-5)),
    "epsilon of dense layers": Mutant(at(f"{LAYER}.norm1"), nodes=every(spec.blocks.DenseLayer, eps=1e-3)),
    "epsilon of transitions": Mutant(at("features.transition1.norm"), nodes=every(spec.blocks.Transition, eps=1e-3)),
    "momentum swapped": Mutant(STATISTICS, nodes=every(BatchNorm, decay=0.1)),
    "stem padded SAME": Mutant(at("features.conv0"), model=same_padding),
    "stem padding 2": Mutant(at("features.conv0"), nodes=every(spec.layers.Conv, padding=2)),
    "stem stride 3": Mutant(at("features.conv0"), nodes=every(spec.layers.Conv, stride=3)),
    "ceil_mode": Mutant(
        at("features.transition1.pool"), dataclasses.replace(NETWORK, input_shape=(3, 42, 42)), model=ceil_mode
    ),
    "max pool over zeros": Mutant(at("features.pool0"), SMALL["pool_on_negatives"], model=pool_over_zeros),
    "concatenation swapped": Mutant(at("features.denseblock1.denselayer2"), model=swap_concatenation),
    "skip connection detached": Mutant(GRADIENTS, model=detach_skip_connection),
    "linear transposed": Mutant(at("classifier"), weights=spoiled("classifier.weight", lambda w: w.T.reshape(w.shape))),
    "kernel flipped": Mutant(
        at(f"{LAYER}.conv2"), weights=spoiled(f"{LAYER}.conv2.weight", lambda w: w[:, :, ::-1, ::-1])
    ),
    "kernel transposed": Mutant(
        at("features.conv0"), weights=spoiled("features.conv0.weight", lambda w: w.swapaxes(2, 3))
    ),
    "batch norm and ReLU swapped": Mutant(at("features.transition1.norm"), model=swap_norm_and_relu),
    "last ReLU missing": Mutant(at("relu"), model=drop_last_relu),
    "convolution biased": Mutant(COUNTS, nodes=every(spec.layers.Conv, bias=True), strict=False),
    "compression rounded up": Mutant(
        COUNTS,
        small(bn_size=4, compression=0.45),
        nodes=lambda network: small(bn_size=4, compression=0.5),
        strict=False,
    ),
    "squeeze-and-excitation one channel wider": Mutant(
        COUNTS,
        nodes=every(spec.blocks.SqueezeExcitation, hidden_channels=lambda node: node.hidden_channels + 1),
        strict=False,
    ),
    "squeeze-and-excitation after the norm": Mutant(at("features.se.pool"), nodes=reordered),
    "squeezed by the maximum": Mutant(at("features.se.pool"), model=squeeze_by_maximum),
    "running variance not loaded": Mutant(
        at("features.norm5"), weights=spoiled("features.norm5.running_var", np.ones_like)
    ),
    "weights of neighbours exchanged": Mutant(
        at(f"{LAYER}.conv2"),
        weights=exchanged(f"{LAYER}.conv2.weight", f"{LAYER.replace('layer1', 'layer2')}.conv2.weight"),
    ),
    "scale and shift exchanged": Mutant(
        at("features.norm0"), weights=exchanged("features.norm0.weight", "features.norm0.bias")
    ),
    "training mode left on": Mutant(at("features.norm5"), model=stay_in_training_mode),
    "channels last flattened as channels first": Mutant(
        at("flatten"), CLASSIC["flattened"], model=flatten_channels_last
    ),
    "gradient of one parameter dropped": Mutant(
        f"{GRADIENTS}features.norm0.bias", gradients=spoiled("features.norm0.bias", np.zeros_like)
    ),
    "projection missing": Mutant(at("layer1.downsample"), CLASSIC["residual_strided"], model=project_nothing),
    "residual added after the ReLU": Mutant(at("layer1"), CLASSIC["residual"], model=add_after_relu),
    "Inception branches in another order": Mutant(at("a"), CLASSIC["inception"], model=exchange_branches),
}


def backend_of(mutant: Mutant) -> types.SimpleNamespace:
    """PyTorch's backend with the fault."""
    import densenet_torch

    def build(network, dtype):
        model = densenet_torch.build(mutant.nodes(network) if mutant.nodes else network, dtype)
        model.network = network
        if mutant.model:
            mutant.model(model)
        return model

    def load_weights(model, weights):
        weights = dict(weights)
        if mutant.weights:
            mutant.weights(weights)
        if mutant.strict:
            densenet_torch.load_weights(model, {k: np.ascontiguousarray(v) for k, v in weights.items()})

    def loss_and_gradients(model, images, labels):
        loss, gradients, statistics = densenet_torch.loss_and_gradients(model, images, labels)
        if mutant.gradients:
            mutant.gradients(gradients)
        return loss, gradients, statistics

    functions = {name: getattr(densenet_torch, name) for name in densenet_torch.__all__}
    changed = {"build": build, "load_weights": load_weights, "loss_and_gradients": loss_and_gradients}
    return types.SimpleNamespace(**functions | changed)


def problem(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, dtype: str = "float64") -> str | None:
    """What the comparison says of a mutant; None if it finds nothing."""
    require("torch")
    original = backends.get
    monkeypatch.setattr(backends, "get", lambda name: backend_of(mutant) if name == "torch" else original(name))
    images = np.random.default_rng(0).normal(size=(3, *mutant.network.input_shape))
    (result,) = compare(mutant.network, ["torch"], images, dtype, checks=["layers", "gradients"])
    assert result.agrees == (result.problem is None)
    return result.problem


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_its_check(name, monkeypatch):
    found = problem(MUTANTS[name], monkeypatch)
    assert found is not None, "the mutant survived"
    assert MUTANTS[name].caught_by in found


@pytest.mark.parametrize("network", sorted({mutant.network.name for mutant in MUTANTS.values()}))
def test_without_the_fault_nothing_is_found(network, monkeypatch):
    for mutant in MUTANTS.values():
        if mutant.network.name == network:
            assert problem(Mutant("", mutant.network), monkeypatch) is None


def test_there_are_as_many_as_promised():
    assert len(MUTANTS) >= 20
    assert {mutant.caught_by for mutant in MUTANTS.values()} >= {COUNTS, GRADIENTS, STATISTICS}


def test_float32_is_too_coarse_for_the_epsilon_of_keras_applications(monkeypatch):
    """Why the suite runs in float64 too."""
    assert problem(MUTANTS["epsilon 1.001e-5"], monkeypatch, dtype="float32") is None


def test_padding_with_zeros_is_no_fault_after_a_relu(monkeypatch):
    assert problem(Mutant("", model=pool_over_zeros), monkeypatch) is None
