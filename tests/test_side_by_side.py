"""The backends have the same files, functions and names, in the same order."""

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest

import spec
import spec.blocks
import spec.layers
from densenet_tools.backends import BACKENDS
from spec.tree import Leaf, Parent
from tests.support import FRAMEWORKS, kinds, require

ROOT = Path(spec.__file__).parent.parent
PACKAGES = [BACKENDS[name].package for name in FRAMEWORKS]
ALL = [*PACKAGES, BACKENDS["onnx"].package]
# ONNX's models are no code that a stranger wrote, which would have to be recorded.
LACKING = {"densenet_onnx": {"operations.py", "recording.py"}}
EXTRA = {  # what only one of them needs
    # PyTorch's users know timm and the Hub, change models by hand, and cut them in slices; and two faster ways to run.
    "densenet_torch": {
        *("chain.py", "checkpointing.py", "efficient.py", "features.py", "fusion.py", "hub.py", "surgery.py", "timm.py")
    },
    # MXNet 1.9.1 has its traps, two kinds of arrays, and a zoo; eager execution is slow in it and in Keras.
    "densenet_mxnet": {
        *("arrays.py", "compat.py", "concat.py", "containers.py", "graph.py", "peers.py", "prefixes.py", "surgery.py"),
        "zoo.py",
    },
    # Keras runs on three frameworks, has applications, and a class of models that goes into files.
    "densenet_keras": {
        *("compat.py", "gradients.py", "graph.py", "__main__.py"),
        *("peers.py", "applications.py", "functional.py"),
    },
    # A graph is built with a tool of its own, run by several engines, of which one is made exact, and quantized.
    "densenet_onnx": {"compat.py", "engines.py", "graph.py", "quantization.py"},
}


def tree(package: str, file: str) -> ast.Module:
    return ast.parse((ROOT / package / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", ALL)
def test_the_files_are_the_same(package):
    files = {path.name for path in (ROOT / package).glob("*.py")}
    assert (files - EXTRA[package]) | LACKING.get(package, set()) == {
        "__init__.py",
        "blocks.py",
        "executors.py",
        "files.py",
        "inception.py",
        "interop.py",
        "layers.py",
        "model.py",
        "operations.py",
        "parallel.py",
        "recording.py",
        "residual.py",
        "train.py",
        "variants.py",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_of_recording_come_in_one_order(package):
    functions = [node.name for node in tree(package, "recording.py").body if isinstance(node, ast.FunctionDef)]
    public = ["record", "record_training", "descend", "arrays", "assign"]
    assert [name for name in functions if not name.startswith("_")] == public


@pytest.mark.parametrize("package", ALL)
def test_public_functions_of_interop_come_in_one_order(package):
    functions = [node.name for node in tree(package, "interop.py").body if isinstance(node, ast.FunctionDef)]
    public = [name for name in functions if not name.startswith("_")]
    assert public[:6] == ["load_weights", "export_weights", "predict", "trace", "loss_and_gradients", "to_input"]
    shared = {
        "cross_entropy",
        "mode",
        "dtype_of",
        "array_of",
        "kept_buffers",
        "eager",
        "named_blocks",
    }  # not all need all of them
    own = {"check_fit", "with_values", "trained", "place_of", "network_of"} | {"variables_of", "canonical", "native"}
    own |= {"refuse_training"}
    assert set(public[6:]) <= shared | own | {"canonical_shape"}


def registered(package: str, file: str) -> list[str]:
    """The node types that `@build.register` names in a file, in order, from its decorators and annotations."""
    found = []
    for node in tree(package, file).body:
        for decorator in getattr(node, "decorator_list", []):
            text = ast.unparse(decorator)
            if text.startswith("build.register("):
                found.append(text[len("build.register(") : -1])
            elif text == "build.register":
                found.append(ast.unparse(node.args.args[0].annotation))
    return [name.split(".")[-1] for name in found]


@pytest.mark.parametrize("package", ALL)
def test_every_node_of_the_spec_is_built_in_one_order(package):
    leaves = [leaf.__name__ for leaf in kinds(Leaf)]
    assert registered(package, "layers.py") == leaves
    assert registered(package, "blocks.py") == [
        "Sequential",
        "DenseBlock",
        "DenseLayer",
        "SqueezeExcitation",
        "Transition",
    ]
    assert registered(package, "residual.py") == ["Residual"]
    assert registered(package, "inception.py") == ["Inception"]
    assert registered(package, "parallel.py") == ["Concatenation", "RectifiedSum"]
    files = ("blocks.py", "residual.py", "inception.py", "parallel.py")
    parents = [name for file in files for name in registered(package, file)]
    assert set(parents) == {node.__name__ for node in kinds(Parent)}


@pytest.mark.parametrize("name", [*FRAMEWORKS, "onnx"])
def test_every_backend_exports_the_same_and_a_builder_for_each_variant(name):
    backend = require(name)
    common = ["build", "export_weights", "get_model", "list_models", "load_weights", "loss_and_gradients"]
    common += ["set_learning_rate", "sgd", "step"]
    assert {*common, "predict", "trace", *spec.names()} <= set(backend.__all__)
    assert backend.list_models() == spec.names()
    for member in backend.__all__:
        assert getattr(backend, member).__doc__, member
    for executor in backend.EXECUTORS.values():
        assert executor.__doc__


@pytest.mark.parametrize("name", ["densenet40_k12_bc", "densenet_d2l"])
def test_a_builder_builds_its_variant(backend, name):
    model = getattr(backend, name)()
    assert model.network.root.children[:5] == spec.variant(name).root.children[:5]
    assert getattr(backend, name).__name__ == name


def test_a_builder_takes_overrides_and_refuses_unknown_ones(backend):
    assert backend.densenet40_k12_bc(growth_rate=6).network.root.children[0][1].children[0][1].out_channels == 12
    with pytest.raises(spec.SpecError, match="width: unknown field"):
        backend.densenet40_k12_bc(width=2)
    with pytest.raises(spec.SpecError, match="unknown variant 'densenet404'"):
        backend.get_model("densenet404")


def test_nothing_stands_in_the_way_of_typing():
    for package in ["spec", *ALL, "densenet_tools"]:
        assert (ROOT / package / "py.typed").exists()
        assert importlib.util.find_spec(package)


def test_weights_agree_in_their_statistics_with_what_each_framework_draws(backend):
    """Each framework's own initialization draws from the distributions of spec.initialize."""
    model = backend.densenet_d2l()
    if hasattr(model, "initialize"):
        model.initialize()
    drawn, expected = backend.export_weights(model), spec.initialize(model.network, 0)
    assert list(drawn) == list(expected)
    for name, array in expected.items():
        if array.ndim == 1:
            assert (drawn[name] == array).all(), name
        elif array.size > 2000:
            assert drawn[name].std() == pytest.approx(array.std(), rel=0.1), name
            assert abs(drawn[name].mean()) < 0.1 * array.std(), name
    bound = 1 / np.sqrt(drawn["classifier.weight"].shape[1])
    assert abs(drawn["classifier.weight"]).max() <= bound, "uniform, where the convolutions are normal"
    assert abs(drawn["features.conv0.weight"]).max() > 2.5 * drawn["features.conv0.weight"].std()


def test_the_missing_backend_is_an_error_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("DENSENET_BACKENDS", "numpy,nonsense")
    with pytest.raises(spec.SpecError, match="unknown backend 'nonsense'"):
        require("nonsense")
