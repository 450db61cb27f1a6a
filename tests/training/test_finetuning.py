"""From a neutral file: what is taken over, what is drawn anew, and what stays frozen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spec
from densenet_tools import training
from densenet_tools.training import Settings, state as states
from tests.data.support import write_folder
from tests.support import FRAMEWORKS
from tests.training.support import NETWORK, begin, checkpoint_step, go_on, losses, outcome, refused, settings

BACKENDS = ["numpy", *FRAMEWORKS]
CLASSES = ("cat", "dog", "fox")
STEPS = 3  # an epoch of 24 images
PREPROCESSING = spec.Preprocessing(size=16, resize=None, mean=(0.25,), std=(0.5,))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("images"), CLASSES, count=8, size=16)


def network_of(classes: int) -> spec.Network:
    return spec.load("densenet40_k12_bc", **NETWORK, in_channels=1, num_classes=classes, input_size=16)


def weights_of(classes: int) -> spec.Weights:
    """Weights and statistics that no network begins with."""
    network = network_of(classes)
    return spec.randomize(spec.initialize(network, 7, np.float32), 7)


def written(path: Path, classes: tuple[str, ...] | None, weights: spec.Weights | None = None) -> Path:
    """A neutral file of a network that tells these apart, or three without names."""
    count = len(classes) if classes else len(CLASSES)
    spec.save(path, network_of(count), weights or weights_of(count), PREPROCESSING, classes=classes)
    return path


def fine_tuned(images: Path, file: Path, backend: str = "numpy", **fields: Any) -> Settings:
    own = {"network": str(file), "overrides": {}, "data": str(images), "data_dir": None}
    return settings(images, backend, **own | fields)


def features(weights: spec.Weights) -> list[str]:
    return [name for name in weights if not name.startswith("classifier.")]


def trained(run: Path) -> spec.Weights:
    return states.load(run).checkpoint.weights


def same(found: spec.Weights, expected: spec.Weights, names: list[str]) -> bool:
    return all(found[name].tobytes() == expected[name].tobytes() for name in names)


@pytest.mark.parametrize("frozen_statistics", [False, True])
@pytest.mark.parametrize("name", BACKENDS)
def test_features_stay_as_they_were_in_the_first_epochs_and_then_move(name, frozen_statistics, images, tmp_path):
    given, run = weights_of(3), tmp_path / "run"
    file = written(tmp_path / "given.safetensors", CLASSES)
    chosen = fine_tuned(images, file, name, epochs=3, freeze_epochs=2, freeze_statistics=frozen_statistics)
    parameters = [each for each in features(given) if not spec.is_buffer(each)]
    statistics = [each for each in features(given) if spec.is_buffer(each)]
    begin(chosen, run, items=2 * STEPS + 2)
    assert checkpoint_step(run) == 2 * STEPS
    assert same(trained(run), given, parameters)
    assert same(trained(run), given, statistics) is frozen_statistics
    assert not same(trained(run), given, ["classifier.weight"])
    go_on(run)
    assert not any(same(trained(run), given, [each]) for each in parameters)
    assert same(trained(run), given, statistics) is frozen_statistics


@pytest.mark.parametrize("items", [1, STEPS + 1, STEPS + 2])
def test_a_run_with_frozen_epochs_goes_on_to_the_bit(items, images, tmp_path):
    file = written(tmp_path / "given.safetensors", CLASSES)
    chosen = fine_tuned(images, file, "torch", freeze_epochs=1)
    begin(chosen, tmp_path / "whole")
    begin(chosen, tmp_path / "run", items, save=True)
    go_on(tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def started(chosen: Settings, run: Path) -> tuple[spec.Checkpoint, dict[str, str]]:
    """What a run begins with, and what it says of it."""
    with training.begun(chosen, run) as (_, changes):
        return states.load(run).checkpoint, changes


@pytest.mark.parametrize("classes", [("cat", "dog", "fox", "owl"), ("cat", "dog", "owl"), ("cat", "dog")])
def test_other_classes_get_a_new_classifier(classes, images, tmp_path):
    """One more, another, one fewer; the new one is that of a network that begins with this seed."""
    given, file = weights_of(len(classes)), written(tmp_path / "given.safetensors", classes)
    checkpoint, changes = started(fine_tuned(images, file, seed=5), tmp_path / "run")
    assert changes == {f"classifier.{name}": "new, drawn with seed 5" for name in ("weight", "bias")}
    assert checkpoint.classes == CLASSES
    assert same(checkpoint.weights, given, features(given))
    assert same(
        checkpoint.weights, spec.initialize(network_of(3), 5, np.float32), ["classifier.weight", "classifier.bias"]
    )


@pytest.mark.parametrize("classes", [CLASSES, None])
def test_the_same_classes_keep_the_classifier(classes, images, tmp_path):
    """A file that does not name its classes is taken at its number of them."""
    given, file = weights_of(3), written(tmp_path / "given.safetensors", classes)
    checkpoint, changes = started(fine_tuned(images, file), tmp_path / "run")
    assert changes == {}
    assert checkpoint.classes == CLASSES
    assert checkpoint.preprocessing == PREPROCESSING
    assert same(checkpoint.weights, given, list(given))


def test_the_same_classes_in_another_order_keep_that_order(images, tmp_path):
    """So that the same classifier, its rows in another order, is trained alike."""
    given, turned = weights_of(3), [2, 0, 1]
    other = given | {name: given[name][turned] for name in ("classifier.weight", "classifier.bias")}
    classes = tuple(CLASSES[i] for i in turned)
    files = written(tmp_path / "1.safetensors", CLASSES), written(tmp_path / "2.safetensors", classes, other)
    runs = tmp_path / "1", tmp_path / "2"
    found = [losses(begin(fine_tuned(images, file, dtype="float64"), run)) for file, run in zip(files, runs)]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert states.load(runs[1]).checkpoint.classes == classes
    assert trained(runs[0])["classifier.bias"][turned] == pytest.approx(trained(runs[1])["classifier.bias"], rel=1e-6)


def test_a_file_in_another_dtype_or_size_is_taken_over(images, tmp_path):
    file = written(tmp_path / "given.safetensors", CLASSES)
    checkpoint, _ = started(fine_tuned(images, file, dtype="float64", image_size=12), tmp_path / "run")
    assert checkpoint.dtype == "float64"
    assert checkpoint.network.input_shape == (1, 12, 12)
    assert checkpoint.preprocessing == spec.Preprocessing(size=12, resize=None, mean=(0.25,), std=(0.5,))


def test_what_cannot_be_trained_is_refused(images, tmp_path):
    file = written(tmp_path / "given.safetensors", CLASSES)
    with refused("has 3 classes, num_classes is set to 4: leave it out"):
        begin(fine_tuned(images, file, overrides={"num_classes": 4}), tmp_path / "run")
    with refused("ends in a softmax, a loss needs logits: set classifier_activation to none"):
        begin(fine_tuned(images, file, overrides={"classifier_activation": "softmax"}), tmp_path / "run")
    with refused(f"{tmp_path / 'gone.safetensors'} does not exist"):
        begin(fine_tuned(images, tmp_path / "gone.safetensors"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
