"""What a run writes for people and programs: a line for each step and for each epoch."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from densenet_tools.training.state import Epoch
from spec.files import replacing

EPOCHS, STEPS, EVENTS = "log.jsonl", "steps.jsonl", "tensorboard"


@dataclass(frozen=True)
class Step:
    """What a step gave: a line of the log. `epoch` is how many epochs are done, such as 0.25."""

    step: int
    epoch: float
    loss: float
    accuracy: float
    learning_rate: float


def write_epochs(run: Path, history: Iterable[Epoch]) -> None:
    """The log of all epochs that are done, in one step."""
    with replacing(run / EPOCHS) as beside:
        beside.write_text("".join(_line(epoch) for epoch in history), encoding="utf-8")


def append_steps(run: Path, steps: Iterable[Step]) -> None:
    """Adds lines to the log of steps; raises OSError where that is not possible."""
    with open(run / STEPS, "a", encoding="utf-8") as file:
        file.writelines(map(_line, steps))
        file.flush()
        os.fsync(file.fileno())


def cut_steps(run: Path, last: int) -> None:
    """Leaves the lines of the first steps up to `last`: a run that was killed had logged more than it had saved."""
    lines = (run / STEPS).read_bytes().splitlines(keepends=True) if (run / STEPS).is_file() else []
    with replacing(run / STEPS) as beside:
        beside.write_bytes(b"".join(lines[:last]))


def _line(record: Any) -> str:
    return json.dumps(asdict(record)) + "\n"
