"""What a run folder says of its training, read for figures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, Field

import spec
from densenet_tools.training.log import EPOCHS, STEPS
from spec.config import Config
from spec.files import check_readable


class Line(Config):
    """A line of a log; what figures need none of is left aside."""

    model_config = ConfigDict(extra="ignore")


class Step(Line):
    """A step of training; `epoch` is how many epochs were done by its end, such as 0.25."""

    step: int = Field(description="number of the step")
    epoch: float = Field(description="epochs done by then")
    loss: float = Field(description="loss of its batch")
    accuracy: float = Field(description="accuracy on its batch")


class Epoch(Line):
    """An epoch; where nothing was held back for validation, its figures are None."""

    epoch: int = Field(description="number of the epoch")
    validation_loss: float | None = Field(description="loss of the images held back, or null")
    validation_accuracy: float | None = Field(description="accuracy on them, or null")


Logged = TypeVar("Logged", bound=Line)


@dataclass(frozen=True)
class Run:
    """A training run until now: all its steps, and the epochs that are done."""

    steps: tuple[Step, ...]
    epochs: tuple[Epoch, ...]


def read_run(folder: Path) -> Run:
    """The run in a folder; raises SpecError where there is none, where a line is damaged, where no epoch is done yet.

    What a run that was killed left of a line is left aside.
    """
    if not (folder / EPOCHS).is_file():
        raise spec.SpecError(
            f"{folder} is not the folder of a run, it has no {EPOCHS}: name what train --out was given"
        )
    run = Run(tuple(_lines(folder / STEPS, Step)), tuple(_lines(folder / EPOCHS, Epoch)))
    if not run.epochs:
        raise spec.SpecError(f"{folder} has nothing to plot yet: the first epoch is not done")
    return run


def _lines(path: Path, kind: type[Logged]) -> Iterator[Logged]:
    check_readable(path)
    *whole, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(whole, start=1):
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise spec.SpecError(f"should be a table, found a {type(fields).__name__}")
            yield kind(**fields)
        except (ValueError, RecursionError) as error:  # SpecError is a ValueError
            raise spec.SpecError(f"{path}, line {number} is damaged: {error}") from None
