"""How far a run is, and its checkpoints: a folder each, which is there as a whole or not at all.

`RUN/step-000937-epochs-1/` holds `weights.safetensors`, a neutral file, and `optimizer.safetensors`, the velocities,
whose header has the rest. That is all that the next step depends on: order, augmentation and dropout follow from the
seed and the step.
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from uuid import uuid4

import spec
from spec import tensors

WEIGHTS, VELOCITIES = "weights.safetensors", "optimizer.safetensors"
NAME, UNFINISHED = re.compile(r"step-(\d+)-epochs-(\d+)"), ".unfinished-"


@dataclass(frozen=True)
class Epoch:
    """What an epoch gave: a line of the log. `loss` and `accuracy` are means over its steps, before each of them."""

    epoch: int
    step: int
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class State:
    """`step` steps are done; `history` has the epochs that are, and validated; the sums are of the next one so far."""

    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    history: tuple[Epoch, ...] = ()
    best: float | None = None

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
    """Adds a checkpoint to the run and removes those before it; raises SpecError where it cannot be written."""
    target, beside = run / f"step-{state.step:06d}-epochs-{len(state.history)}", run / f"{UNFINISHED}{uuid4().hex}"
    if target.exists():  # of the same step and epoch, so the same
        return
    try:
        beside.mkdir()
        write_weights(beside / WEIGHTS, checkpoint)
        digest = tensors.digest(velocities[name] for name in sorted(velocities))
        metadata = {"state": json.dumps(asdict(state)), "sha256": digest}
        tensors.write(beside / VELOCITIES, velocities, metadata)
        _sync(beside)
        os.rename(beside, target)
        _sync(run)
    except (OSError, spec.SpecError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).rpartition("cannot be written: ")[2]
        kept = [f"; that of step {_order(found)[0]} is kept" for found in _found(run)[-1:]]
        raise spec.SpecError(
            f"{run}: the checkpoint of step {state.step} cannot be written: {reason}{''.join(kept)}"
        ) from None
    for before in _found(run)[:-1]:
        shutil.rmtree(before, ignore_errors=True)


def write_weights(path: Path, checkpoint: spec.Checkpoint) -> None:
    """A neutral file of all that a checkpoint has."""
    spec.save(
        path,
        checkpoint.network,
        checkpoint.weights,
        checkpoint.preprocessing,
        checkpoint.provenance,
        checkpoint.classes,
    )


def newest(run: Path) -> Path | None:
    """The folder of the run's last checkpoint; None where it has none."""
    found = _found(run)
    return found[-1] if found else None


def load(run: Path) -> Saved:
    """The run's last checkpoint; raises SpecError where it has none, and where that is damaged."""
    folder = newest(run)
    if folder is None:
        raise spec.SpecError(f"{run} has no checkpoint to go on from: name what train --out was given")
    checkpoint = spec.open(folder / WEIGHTS)
    header = tensors.read_header(folder / VELOCITIES)
    velocities, digest = tensors.read_arrays(header, sorted(header.shapes))
    if header.metadata.get("sha256") != digest:
        raise spec.SpecError(f"{header.path} is damaged: its values are not those that its digest was taken of")
    return Saved(_state(header), checkpoint, velocities)


def clean(run: Path) -> None:
    """Removes what a run that was killed left of a checkpoint: one that was not finished, or not yet removed."""
    for left in (*run.glob(f"{UNFINISHED}*"), *_found(run)[:-1]):
        shutil.rmtree(left, ignore_errors=True)


def _state(header: tensors.Header) -> State:
    try:
        table = json.loads(header.metadata["state"])
        history = tuple(Epoch(**epoch) for epoch in table.pop("history"))
        return State(history=history, **{each.name: table[each.name] for each in fields(State) if each.name in table})
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise spec.SpecError(f"{header.path} does not say how far its run is: it was not written by train") from None


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
