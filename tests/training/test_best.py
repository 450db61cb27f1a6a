"""best.safetensors: the epoch that validated best, the first of several; without validation the last."""

from pathlib import Path

import spec
from densenet_tools import training
from densenet_tools.training import BEST, Epoch, Settings, state as states
from tests.data.support import write_folder
from tests.training.support import COUNT, settings


def epochs(chosen: Settings, run: Path) -> tuple[list[float | None], list[spec.Checkpoint]]:
    """The accuracy of each epoch, and what it ended with."""
    found, ends = [], []
    with training.begun(chosen, run) as (begun, _):
        for done in begun.steps():
            if isinstance(done, Epoch):
                found.append(done.validation_accuracy)
                ends.append(states.load(run).checkpoint)
    return found, ends


def is_best(run: Path, end: spec.Checkpoint) -> bool:
    best = spec.open(run / BEST)
    return best.provenance["step"] == end.provenance["step"] and all(
        (best.weights[name] == array).all() for name, array in end.weights.items()
    )


def test_it_is_the_epoch_that_none_surpasses(data, tmp_path):
    chosen = settings(data, "numpy", epochs=6, learning_rate=0.2, schedule="constant", seed=1)
    accuracies, ends = epochs(chosen, tmp_path / "run")
    best = accuracies.index(max(accuracies))
    assert 0 < best < 5, "a control: neither the first nor the last"
    assert is_best(tmp_path / "run", ends[best])


def test_of_equal_ones_it_is_the_first(data, tmp_path):
    accuracies, ends = epochs(settings(data, "numpy"), tmp_path / "run")
    assert accuracies == [0.1, 0.1], "a control: the network still takes all for one of ten classes"
    assert is_best(tmp_path / "run", ends[0])


def test_without_validation_it_is_the_last(tmp_path):
    images = write_folder(tmp_path / "images", count=COUNT // 2, size=16, parts=())
    accuracies, ends = epochs(settings(images, "numpy", data=str(images), data_dir=None), tmp_path / "run")
    assert accuracies == [None, None]
    assert is_best(tmp_path / "run", ends[1])
