"""The examples: each trains, and the three of them read alike."""

import ast
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import spec
from densenet_tools import backends
from tests.data.support import idx
from tests.support import FRAMEWORKS, require

EXAMPLES = {name: Path(__file__).parent.parent / "examples" / f"train_{name}.py" for name in FRAMEWORKS}
LINE = r"epoch (\d+): loss (\d+\.\d{3}), accuracy ([01]\.\d{3}), test accuracy ([01]\.\d{3}), [1-9]\d* images/s"
COUNT = 320  # images, five batches
SMALL = {"block_config": [1, 1, 1]}
# An example as a program, but for its network, which is a small one.
PROGRAM = f"""
import functools, importlib, runpy, sys
backend = importlib.import_module(sys.argv.pop(1))
backend.densenet40_k12_bc = functools.partial(backend.densenet40_k12_bc, **{SMALL})
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture
def example(backend, backend_name, monkeypatch):
    """What an example defines, its network a small one."""
    monkeypatch.setattr(backend, "densenet40_k12_bc", partial(backend.densenet40_k12_bc, **SMALL))
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES[backend_name])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stripes in place of clothes, a width and a direction for each class.

    The first COUNT of those to train on have their label, and half as many of those to test on; the rest a wrong one.
    """
    folder, rng = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    labels = np.arange(2 * COUNT) % 10
    for part, right in (("train", COUNT), ("t10k", COUNT // 2)):
        pixels = rng.integers(0, 64, (2 * COUNT, 28, 28), np.uint8)
        for image, label in zip(pixels, labels):
            (image if label < 5 else image.T)[:: 2 + label % 5] += 160
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.r_[labels[:right], labels[right:] + 1] % 10))
    return folder


def test_each_learns_and_prints_a_line_for_each_epoch(backend, backend_name, folder):
    """With --limit it can learn all labels and predict half of the test's; without, half and a quarter."""
    options = ["--epochs", "4", "--limit", str(COUNT), "--data-dir", str(folder)]
    program = [sys.executable, "-c", PROGRAM, backends.BACKENDS[backend_name].package, str(EXAMPLES[backend_name])]
    done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning:" not in done.stderr
    found = [re.fullmatch(LINE, line) for line in done.stdout.splitlines()]
    assert all(found), done.stdout
    epochs, losses, accuracies, test_accuracies = np.array([match.groups() for match in found if match], float).T
    assert epochs.tolist() == [1, 2, 3, 4]
    assert losses[-1] < losses[0] / 2
    assert accuracies[-1] > 0.7
    assert 0.35 < test_accuracies[-1] < 0.6


def test_each_starts_from_the_same_weights(backend, example):
    """Those of seed 0, whose logits are no probabilities: Keras' builders end in a softmax unless told otherwise."""
    model = example.build()
    weights = backend.export_weights(model)
    assert all((weights[name] == array).all() for name, array in spec.initialize(model.network, 0).items())
    logits = backend.predict(model, np.random.default_rng(0).normal(size=(2, 1, 28, 28)))
    assert logits.shape == (2, 10)
    assert (logits < 0).any()


def test_each_sees_the_same_images(example, backend_name):
    """Black is 0 and white 1, before the mean of 0.286 and the standard deviation of 0.353; two of three images."""
    pixels = np.zeros((3, 28, 28), np.uint8)
    pixels[0, 27, 14], pixels[1, 14, 0] = 255, 51
    data = example.load(SimpleNamespace(pixels=pixels, labels=np.array([3, 1, 4])), 2)
    batch = data if backend_name == "keras" else next(iter(data))
    images, labels = (array.asnumpy() if backend_name == "mxnet" else np.asarray(array) for array in batch)
    assert images.shape == ((2, 28, 28, 1) if backend_name == "keras" else (2, 1, 28, 28))
    assert images.dtype == np.float32
    assert labels.tolist() == [3, 1]
    black, white, dark = images.reshape(2, 28, 28)[[0, 0, 1], [14, 27, 14], [27, 14, 0]]
    assert [black, white, dark] == pytest.approx([-0.286 / 0.353, 0.714 / 0.353, -0.086 / 0.353])


@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_evaluating_is_inference(name, rng):
    """A batch in training mode would move the running statistics."""
    backend, example = require(name), SimpleNamespace(**runpy.run_path(str(EXAMPLES[name])))
    model = example.build()
    pixels, labels = rng.integers(0, 256, (4, 28, 28), np.uint8), np.arange(4)
    accuracy = example.evaluate(model, example.load(SimpleNamespace(pixels=pixels, labels=labels), None))
    weights = backend.export_weights(model)
    assert all((weights[name] == array).all() for name, array in spec.initialize(model.network, 0).items())
    images = (pixels[:, None] / 255 - example.MEAN) / example.STD
    assert accuracy == (backend.predict(model, images).argmax(axis=1) == labels).mean()


def test_without_the_data_each_says_so(example, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["train.py", "--data-dir", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as left:
        example.main()
    assert left.value.code == 2
    assert f"train.py: error: {tmp_path / 'none'}" in capsys.readouterr().err


def test_they_have_the_same_parts_in_the_same_order():
    """Keras' fit evaluates, too; there a class reports."""
    parts = {name: [node.name.lower() for node in body(name, ast.FunctionDef, ast.ClassDef)] for name in EXAMPLES}
    assert parts["torch"] == parts["mxnet"] == ["load", "build", "train", "evaluate", "report", "main"]
    assert parts["keras"] == ["load", "build", "train", "report", "main"]


def test_they_have_the_same_settings():
    torch, mxnet, keras = ([ast.unparse(node) for node in body(name, ast.Assign)] for name in EXAMPLES)
    assert "LEARNING_RATE" in torch[0]
    assert torch == mxnet == keras


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_is_short(name):
    """Lines of code: docstrings, comments and empty lines are not counted."""
    bare = [line for line in EXAMPLES[name].read_text(encoding="utf-8").splitlines() if not is_silent(line)]
    assert 40 <= len(bare) <= 60


def body(name: str, *kinds: type[ast.stmt]) -> list:
    """The statements of these kinds at the top of an example."""
    return [node for node in ast.parse(EXAMPLES[name].read_text(encoding="utf-8")).body if isinstance(node, kinds)]


def is_silent(line: str) -> bool:
    return not line.strip() or line.strip().startswith(("#", '"""'))
