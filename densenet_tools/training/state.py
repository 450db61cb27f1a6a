"""How far a run is, and its checkpoints: a folder each, which is there as a whole or not at all.

`RUN/step-000937-epochs-1/` holds `weights.safetensors`, a neutral file, and `optimizer.safetensors`, the velocities,
whose header has the rest. That is all that the next step depends on: order, augmentation and dropout follow from the
seed and the step.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

import spec
from spec import tensors

WEIGHTS, VELOCITIES = "weights.safetensors", "optimizer.safetensors"
NAME, UNFINISHED = re.compile(r"step-(\d+)-epochs-(\d+)"), ".unfinished-"
LEFT = re.compile(r"\.(unfinished-|[0-9a-f]{32}\.)")  # what a write that was killed leaves; see spec.files.replacing
CHECKED = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)  # of what is read; what is made is right
Count = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave: a line of the log. `loss` and `accuracy` are means over its steps, before each of them."""

    __pydantic_config__ = CHECKED
    epoch: Count
    step: Count
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    images_per_second: float
    seconds: NotNegative


@dataclass(frozen=True)
class State:
    """`step` steps are done; `history` has the epochs that are, and validated; the sums are of the next one so far.

    `images` says how many are trained on and how many validated on: with others it would be another run.
    """

    __pydantic_config__ = CHECKED
    step: Count = 0
    loss_sum: float = 0.0
    correct: Count = 0
    seconds: NotNegative = 0.0
    history: tuple[Epoch, ...] = ()
    best: float | None = None
    images: tuple[Count, Count] = (0, 0)

    def after(self, loss: float, correct: int, seconds: float) -> "State":
        """One step later."""
        return replace(
            self,
            step=self.step + 1,
            loss_sum=self.loss_sum + loss,
            correct=self.correct + correct,
            seconds=self.seconds + seconds,
        )


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read, or what a run begins with: then there are no velocities yet."""

    state: State
    checkpoint: spec.Checkpoint
    velocities: spec.Weights | None = None


def save(run: Path, state: State, checkpoint: spec.Checkpoint, velocities: spec.Weights) -> None:
    """Adds a checkpoint to the run and removes those before it; raises OSError or SpecError where it cannot."""
    target, beside = run / _name(state), run / f"{UNFINISHED}{uuid4().hex}"
    if target.exists():  # of the same step and epoch, so the same
        return
    try:
        beside.mkdir()
        checkpoint.save(beside / WEIGHTS)
        text = json.dumps(asdict(state))
        metadata = {"state": text, "sha256": _digest(beside / WEIGHTS, text, velocities)}
        tensors.write(beside / VELOCITIES, velocities, metadata)
        _sync(beside)
        os.rename(beside, target)
        _sync(run)
    except (OSError, spec.SpecError):
        shutil.rmtree(beside, ignore_errors=True)
        raise
    for before in _found(run)[:-1]:
        shutil.rmtree(before, ignore_errors=True)


@contextmanager
def saving(run: Path, step: int) -> Iterator[None]:
    """Says in one sentence, a SpecError, what could not be written within the block, and what is left."""
    try:
        yield
    except (OSError, spec.SpecError) as error:
        reason = getattr(error, "strerror", None) or str(error).rpartition("cannot be written: ")[2]
        raise spec.SpecError(f"{run}: step {step} cannot be saved: {reason}; {kept(run)}") from None


def kept(run: Path) -> str:
    """What is left to go on from, in words."""
    last = newest(run)
    return f"the checkpoint of step {_order(last)[0]} is kept" if last else "there is no checkpoint"


def newest(run: Path) -> Path | None:
    """The folder of the run's last checkpoint; None where it has none."""
    found = _found(run)
    return found[-1] if found else None


def load(run: Path) -> Saved:
    """The run's last checkpoint; raises SpecError where it has none, and where that is not what was written."""
    folder = newest(run)
    if folder is None:
        raise spec.SpecError(f"{run} has no checkpoint to go on from: begin it anew with --out {run}")
    checkpoint = spec.open(folder / WEIGHTS)
    header = tensors.read_header(folder / VELOCITIES)
    velocities, _ = tensors.read_arrays(header, sorted(header.shapes))
    text = header.metadata.get("state", "")
    if header.metadata.get("sha256") != _digest(folder / WEIGHTS, text, velocities):
        raise spec.SpecError(
            f"{folder} is damaged, its files are not those that train wrote together: put a copy in its place, or "
            "begin another run"
        )
    state = _state(header.path, text)
    if folder.name != _name(state):  # which says what is the newest
        raise spec.SpecError(f"{folder} holds another checkpoint than its name says: rename it to {_name(state)}")
    return Saved(state, checkpoint, velocities)


def clean(run: Path) -> None:
    """Removes what a run that was killed left of its last write: files without an end, checkpoints that are old."""
    for left in (path for path in run.iterdir() if LEFT.match(path.name)):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    for before in _found(run)[:-1]:
        shutil.rmtree(before, ignore_errors=True)


def _digest(weights: Path, state: str, velocities: spec.Weights) -> str:
    """The SHA-256 of all that a checkpoint holds: the whole file of weights, the state, names and velocities."""
    with open(weights, "rb") as file:
        found = hashlib.file_digest(file, "sha256")
    names = sorted(velocities)
    found.update(json.dumps([state, names, tensors.digest(velocities[name] for name in names)]).encode())
    return found.hexdigest()


def _state(path: Path, text: str) -> State:
    try:
        return TypeAdapter(State).validate_json(text)
    except ValidationError as error:
        complaint = error.errors(include_url=False)[0]
        where = ".".join(("state", *map(str, complaint["loc"])))
        raise spec.SpecError(
            f"{path} does not say how far its run is: {where}: {complaint['msg'].removeprefix('Input ')}"
        ) from None


def _name(state: State) -> str:
    return f"step-{state.step:06d}-epochs-{len(state.history)}"


def _found(run: Path) -> list[Path]:
    return sorted((path for path in run.glob("step-*") if NAME.fullmatch(path.name)), key=_order)


def _order(folder: Path) -> tuple[int, int]:
    """The step, and how many epochs were validated by then: after the last step of one, there are two checkpoints."""
    match = NAME.fullmatch(folder.name)
    assert match
    return int(match[1]), int(match[2])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
