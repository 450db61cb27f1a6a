"""What a run writes for people and programs: a line for each step and for each epoch, and TensorBoard's events."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import spec
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
    """Adds lines to the log of steps; raises SpecError where that is not possible."""
    try:
        with open(run / STEPS, "a", encoding="utf-8") as file:
            file.writelines(map(_line, steps))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise spec.SpecError(f"{run / STEPS} cannot be written: {error.strerror}") from None


def cut_steps(run: Path, last: int) -> None:
    """Leaves the lines of the first steps up to `last`: a run that was killed had logged more than it had saved."""
    lines = (run / STEPS).read_bytes().splitlines(keepends=True) if (run / STEPS).exists() else []
    with replacing(run / STEPS) as beside:
        beside.write_bytes(b"".join(lines[:last]))


class Board:
    """TensorBoard's events, where tensorboardX is installed; else nothing."""

    def __init__(self, run: Path, step: int):
        self.writer = None
        if find_spec("tensorboardX"):
            from tensorboardX import SummaryWriter

            self.writer = SummaryWriter(str(run / EVENTS), purge_step=step + 1)

    def add(self, done: Step | Epoch) -> None:
        """One point of each of its figures."""
        if self.writer is None:
            return
        part = "epoch" if isinstance(done, Epoch) else "step"
        for name, value in asdict(done).items():
            if name not in ("step", "epoch") and value is not None:
                self.writer.add_scalar(f"{part}/{name}", value, done.step)

    def close(self) -> None:
        """Writes what is left."""
        if self.writer is not None:
            self.writer.close()


def _line(record: Any) -> str:
    return json.dumps(asdict(record)) + "\n"
