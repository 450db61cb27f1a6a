"""The spec checks itself: a tree that does not fit is refused with the path, and no node is taken for an identity."""

import importlib
import pkgutil
from dataclasses import dataclass, is_dataclass, replace

import numpy as np
import pytest

import spec
from spec import blocks, layers, reference
from spec.layers import BatchNorm, Conv, Elementwise, Flatten, GlobalAvgPool, Leaf, Linear, MaxPool, ReLU
from spec.reference.backward import pullback
from spec.reference.forward import Pass, forward
from spec.tree import Composite, Container, Node, join, output_shape, rewrite, walk
from tests.cases import CASES, SMALL, pooled, residual, tiny
from tests.support import kinds, require


def conv(in_channels: int, out_channels: int, **changes: int) -> Conv:
    return replace(Conv(in_channels, out_channels, kernel_size=3, stride=1, padding=1, bias=True), **changes)


def features(*nodes: tuple[str, Node], size: int = 16) -> spec.Network:
    return tiny(size, ("features", spec.Sequential(nodes)), ("pool", GlobalAvgPool()), ("flatten", Flatten()))


NORM, POOL = BatchNorm(4, eps=1e-5, decay=0.9), MaxPool(kernel_size=2, stride=2, padding=0)
DENSE = blocks.DenseLayer(8, 4, bn_size=None, bias=False, dropout=0.0, squeeze_excitation=None, eps=1e-5, decay=0.9)
GATE = blocks.SqueezeExcitation(6, 2, bias=True)
MISFITS = {
    "channels": (lambda: features(("conv0", conv(99, 5))), "features.conv0: takes 99 channels, gets 3"),
    "norm": (lambda: features(("conv0", conv(3, 5)), ("norm0", NORM)), "features.norm0: takes 4 channels, gets 5"),
    "dense layer": (
        lambda: features(("conv0", conv(3, 5)), ("block", blocks.DenseBlock((DENSE,)))),
        "features.block.denselayer1.norm1: takes 8 channels, gets 5",
    ),
    "gate": (lambda: features(("conv0", conv(3, 5)), ("se", GATE)), "features.se.fc1: takes 6 features, gets 5"),
    "shortcut": (
        lambda: features(("conv0", conv(3, 4)), ("block", replace(residual(4, 4), stride=2))),
        "features.block: adds a branch of 4x8x8 to a shortcut of 4x16x16: it needs a projection",
    ),
    "classifier after a pool": (
        lambda: pooled(10, ("conv0", conv(3, 4))),
        "classifier: takes 10 features, gets 4",
    ),
    "classifier after a map": (
        lambda: tiny(4, ("flatten", Flatten()), ("classifier", Linear(50, 5, bias=True))),
        "classifier: takes 50 features, gets 48",
    ),
    "no flattening": (
        lambda: tiny(4, ("pool", GlobalAvgPool()), ("classifier", Linear(3, 5, bias=True))),
        "classifier: takes vectors, gets maps (C, H, W): flatten them first",
    ),
    "flattened twice": (
        lambda: tiny(4, ("flatten", Flatten()), ("again", Flatten())),
        "again: takes maps (C, H, W), gets 48 features",
    ),
    "convolution of a vector": (
        lambda: tiny(4, ("flatten", Flatten()), ("conv", conv(48, 5))),
        "conv: takes maps (C, H, W), gets 48 features",
    ),
    "too small": (
        lambda: features(("pool0", POOL), ("pool1", replace(POOL, kernel_size=5)), size=8),
        "features.pool1: a 5x5 window does not fit into 4x4",
    ),
    "too small, padded": (
        lambda: features(("conv0", conv(3, 4, kernel_size=9)), size=4),
        "features.conv0: a 9x9 window does not fit into 4x4 padded by 1",
    ),
    "a window of padding": (
        lambda: features(("pool0", replace(POOL, padding=2))),
        "features.pool0: padding 2 is more than half its window of 2",
    ),
    "classes": (
        lambda: tiny(4, ("pool", GlobalAvgPool()), ("flatten", Flatten())),
        "tiny puts out 3, expected 5, one for each class",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_tree_that_does_not_fit_is_refused_with_the_path(case):
    make, sentence = MISFITS[case]
    with pytest.raises(spec.SpecError) as error:
        make()
    assert str(error.value).endswith(sentence)
    assert str(error.value).removesuffix(sentence) in ("", "tiny at 3x16x16: ", "tiny at 3x8x8: ", "tiny at 3x4x4: ")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: conv(0, 4), "Conv.in_channels: should be at least 1, found 0"),
        (lambda: conv(3, 4, stride=0), "Conv.stride: should be at least 1, found 0"),
        (lambda: conv(3, 4, padding=-1), "Conv.padding: should be at least 0, found -1"),
        (lambda: Linear(3, -2, bias=True), "Linear.out_features: should be at least 1, found -2"),
        (lambda: replace(GATE, hidden_channels=0), "SqueezeExcitation.hidden_channels: should be at least 1, found 0"),
    ],
)
def test_a_number_that_no_node_can_have_is_refused(make, sentence):
    with pytest.raises(spec.SpecError) as error:
        make()
    assert str(error.value) == sentence


def test_numbers_are_written_with_their_names():
    with pytest.raises(TypeError, match="positional arguments"):
        Conv(64, 192, 3, 1, 1, False)


def test_a_flattening_inside_a_container_limits_the_size_too():
    head = spec.Sequential((("flatten", Flatten()), ("fc", Linear(3 * 4 * 4, 5, bias=True))))
    network = tiny(8, ("pool", POOL), ("classifier", head))
    assert (network.min_size, network.max_size) == (8, 9)
    with pytest.raises(spec.SpecError, match="3x8x10 is too large for tiny"):
        network.check_input_shape((3, 8, 10))


def test_a_network_of_one_size():
    network = tiny(4, ("flatten", Flatten()), ("fc", Linear(48, 5, bias=True)))
    assert (network.min_size, network.max_size) == (4, 4)


@dataclass(frozen=True)
class GELU(Elementwise):
    """A leaf that the spec does not have: x * Phi(x) (Hendrycks & Gimpel 2016)."""


class TestANewNode:
    """What it is stands with it; each place that would have to run it refuses it by name until it is told how."""

    network = pooled(4, ("conv", conv(3, 4)), ("gelu", GELU()))

    def test_its_shapes_and_figures_follow(self):
        row = next(row for row in spec.analyze(self.network) if row.path == "gelu")
        assert (row.kind, row.output_shape, row.parameters) == ("GELU", (4, 16, 16), 0)

    def test_the_reference_does_not_take_it_for_an_identity(self):
        model = reference.build(self.network)
        reference.load_weights(model, spec.initialize(self.network, 0, np.float64))
        images = np.zeros((2, 3, 16, 16))
        for function, arguments in {
            reference.predict: (images,),
            reference.trace: (images,),
            reference.loss_and_gradients: (images, np.array([0, 1])),
        }.items():
            with pytest.raises(
                TypeError, match=r"spec\.reference cannot run GELU\(\): register what it does with apply"
            ):
                function(model, *arguments)

    def test_nor_backwards(self):
        with pytest.raises(TypeError, match=r"cannot differentiate GELU\(\): register its pullback"):
            pullback(GELU(), np.ones(3), np.ones(3), run=Pass({}), path="gelu")

    def test_every_backend_refuses_it(self, backend):
        with pytest.raises(TypeError, match=r"cannot build GELU\(\): expected a node of the spec"):
            backend.build(self.network)

    def test_a_leaf_that_forgets_to_say_what_it_is_cannot_be_made(self):
        @dataclass(frozen=True)
        class Forgetful(Leaf):
            """Says nothing."""

        with pytest.raises(TypeError, match=r"output_shape.*parameter_shapes"):
            Forgetful()

    def test_nor_can_a_composite(self):
        @dataclass(frozen=True)
        class Forgetful(Composite):
            """Says nothing."""

        with pytest.raises(TypeError, match=r"branches.*output_shape"):
            Forgetful()


def test_every_node_is_executed_and_differentiated_by_a_rule_of_its_own():
    """None falls through to the default, and pass-throughs are registered by name."""
    from spec.reference.forward import apply

    for rules in (apply, pullback):
        assert {kind for kind in kinds(Node) if kind in rules.registry} == set(kinds(Node))
    assert kinds(Node) == [*kinds(Leaf), *[kind for kind in kinds(Node) if not issubclass(kind, Leaf)]]
    assert kinds(Container) == [blocks.Sequential, blocks.DenseBlock]


def test_paths_are_joined_with_dots():
    assert (join("", "features"), join("features", "conv0")) == ("features", "features.conv0")


def test_a_rewrite_reaches_every_node_that_another_holds():
    root = SMALL["se_everywhere"].root
    assert rewrite(root, lambda node: node) == root
    seen: list[Node] = []
    rewrite(root, lambda node: (seen.append(node), node)[1])
    assert seen[-1] == root
    held = [node for _, node in walk(root) if isinstance(node, (blocks.SqueezeExcitation, blocks.DenseLayer))]
    assert [node for node in seen if isinstance(node, (blocks.SqueezeExcitation, blocks.DenseLayer))] == held
    narrow = rewrite(root, lambda node: replace(node, hidden_channels=1) if type(node) is type(GATE) else node)
    assert {node.hidden_channels for _, node in walk(narrow) if type(node) is type(GATE)} == {1}


def test_a_rewrite_may_put_another_node_in_the_place_of_one():
    root = rewrite(SMALL["plain"].root, lambda node: layers.Sigmoid() if isinstance(node, ReLU) else node)
    paths = dict(walk(root))
    assert isinstance(paths["relu"], layers.Sigmoid)
    assert isinstance(paths["features.denseblock1.denselayer1.relu1"], ReLU), "a composite's own, written by hand"


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_those_of_the_arrays(case):
    """Of every node by itself: what `output_shape` says is what the reference makes."""
    network, input_shape = CASES[case].network, CASES[case].input_shape
    weights = spec.initialize(network, 0, np.float64)
    out = forward(network.root, np.zeros((2, *input_shape)), Pass(weights))
    assert out.shape == (2, *output_shape(network.root, input_shape))


def test_no_module_is_hidden_by_a_function_of_its_name():
    for package in ("spec", "densenet_tools", *(name for name in ("densenet_torch",) if require("torch"))):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            parent, _, name = module.name.rpartition(".")
            if name != "__main__":
                loaded = importlib.import_module(module.name)
                assert getattr(importlib.import_module(parent), name) is loaded, module.name


def test_what_load_config_returns_can_be_built(tmp_path):
    config = spec.load_config("lenet", num_classes=3)
    assert spec.build(config, "mine") == replace(spec.variant("lenet", num_classes=3), name="mine")
    assert spec.build(config).name == "lenet"


CHANGED_IN_PLACE = {"Reference", "Pass", "SGD"}  # a model, what a run records, an optimizer


@pytest.mark.parametrize(
    "package", ["spec", "spec.families", "spec.reference", "densenet_tools", "densenet_tools.parity"]
)
def test_what_is_said_cannot_be_changed_afterwards(package):
    """All dataclasses are frozen, but for those that are states."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if module.name.endswith("__main__"):
            continue
        for name, kind in vars(importlib.import_module(module.name)).items():
            if is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == module.name:
                assert kind.__dataclass_params__.frozen == (name not in CHANGED_IN_PLACE), kind
