"""Small runs: begun, stopped, gone on with, and held against each other."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import spec
from densenet_tools import training
from densenet_tools.training import BEST, Epoch, Settings, Step, Training, state as states
from densenet_tools.training.log import EVENTS
from tests.support import require

NETWORK = {"block_config": [1, 1], "growth_rate": 4}
COUNT, BATCH, EPOCHS = 40, 8, 2
STEPS = COUNT // BATCH * EPOCHS  # of a run as below
ITEMS = STEPS + EPOCHS  # what it gives: its steps, and its epochs
STOPPED = 7  # steps after which one is stopped: an epoch of five, and two
TIMES = ("seconds", "images_per_second")  # what differs each time


def settings(folder: Path, backend: str = "torch", /, **fields: Any) -> Settings:
    """A run of STEPS steps on the files of tests.data.support.write_idx, with all that is drawn at random."""
    require(backend)
    own = {
        "network": "densenet40_k12_bc",
        "overrides": NETWORK | {"dropout": 0.25},
        "backend": backend,
        "data_dir": str(folder),
        "image_size": 16,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": 0.05,
        "schedule": "one-cycle",
        "padding": 2,
        "flip": True,
        "checkpoint_seconds": 1e6,
    }
    return Settings(**own | fields)


def begin(chosen: Settings, run: Path, items: int | None = None, save: bool = False) -> list[Step | Epoch]:
    """What the first steps and epochs of a new run gave, or all; broken off there, and saved or not."""
    with training.begun(chosen, run) as (begun, _):
        return _taken(begun, items, save)


def go_on(run: Path, items: int | None = None, save: bool = False, **overrides: Any) -> list[Step | Epoch]:
    """The same of a run that goes on."""
    with training.resumed(run, overrides) as resumed:
        return _taken(resumed, items, save)


def _taken(run: Training, items: int | None, save: bool) -> list[Step | Epoch]:
    found = list(islice(run.steps(), items))
    if save:
        run.save()
    return found


def losses(done: list[Step | Epoch]) -> list[float]:
    return [each.loss for each in done if isinstance(each, Step)]


def outcome(run: Path) -> dict[str, Any]:
    """All that a run leaves, but for how long it took: arrays as bytes, so that == compares every bit."""
    saved, best = states.load(run), spec.open(run / BEST)
    assert saved.velocities is not None
    return {
        "position": (saved.state.step, len(saved.state.history), saved.state.best),
        "weights": _bits(saved.checkpoint.weights),
        "velocities": _bits(saved.velocities),
        "best": (_bits(best.weights), best.classes, dict(best.provenance)),
        "log": [
            {name: value for name, value in json.loads(line).items() if name not in TIMES}
            for line in (run / "log.jsonl").read_text().splitlines()
        ],
        "steps": (run / "steps.jsonl").read_text(),
        "folder": sorted(path.name for path in run.iterdir() if path.name != EVENTS),
    }


def newest(run: Path) -> Path:
    """The folder of the last checkpoint."""
    found = states.newest(run)
    assert found
    return found


def content(folder: Path) -> dict[str, bytes]:
    """All files in it, and below."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoint_step(run: Path) -> int:
    return states.load(run).state.step


def _bits(arrays: spec.Weights) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


@contextmanager
def refused(says: str) -> Iterator[list[str]]:
    """The block raises SpecError with these words, in one line, which the list has afterwards."""
    sentence: list[str] = []
    with pytest.raises(spec.SpecError, match=re.escape(says)) as said:
        yield sentence
    sentence.append(str(said.value))
    assert "\n" not in sentence[0]
