"""A run's folder: begun, gone on with, and locked meanwhile."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spec
from densenet_tools.data.fashion import NAME as FASHION_MNIST
from densenet_tools.training import log, settings as files, state as states
from densenet_tools.training.loop import BEST, Training
from densenet_tools.training.settings import Settings
from densenet_tools.training.state import Saved, State
from densenet_tools.training.task import Task, new_task, resumed_task

SETTINGS, LOCK = "settings.toml", ".lock"
CHANGEABLE = ("backend", "device", "data", "data_dir", "workers", "checkpoint_seconds")  # by a run that goes on


@contextmanager
def begun(settings: Settings, run: Path) -> Iterator[tuple[Training, dict[str, str]]]:
    """A new run in a folder that is empty or not there yet, and what was done to weights that it starts from.

    It is on its device, and nobody else's, within the block; its first checkpoint is written before. Raises SpecError
    for settings that cannot be trained, and where nothing can be written there.
    """
    _check_new(run)
    task, changes = new_task(settings)
    with task.backend.device(settings.device):
        training = Training(task, run, Saved(State(images=task.images), task.start))
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise spec.SpecError(f"{run} cannot be written: {error.strerror}") from None
        with _locked(run):
            _check_new(run)  # another process may have begun one meanwhile
            states.clean(run)
            files.write(run / SETTINGS, _movable(settings))
            log.cut_steps(run, 0)
            training.save()
            yield training, changes


@contextmanager
def resumed(run: Path, overrides: Mapping[str, Any] | None = None) -> Iterator[Training]:
    """A run, gone on with from its last checkpoint, within the block; see `begun`.

    What may change is where it runs, and where the data lie.
    """
    for name in (name for name in overrides or {} if name not in CHANGEABLE):
        raise spec.SpecError(f"{name} cannot change in a run that goes on: leave it out, or begin another run")
    if not (run / SETTINGS).is_file():
        raise spec.SpecError(f"{run} is not the folder of a run, it has no {SETTINGS}: name what train --out was given")
    settings = files.read(run / SETTINGS, overrides)
    with _locked(run):
        saved = states.load(run)
        task = resumed_task(settings, saved.checkpoint)
        _check_same(run, task, saved)
        states.clean(run)
        log.cut_steps(run, saved.state.step)
        with task.backend.device(settings.device):
            yield Training(task, run, saved)


def weights_of(path: Path) -> Path:
    """The file with weights that a path means: a file itself; of a run its best, or else its last."""
    if not path.exists():
        raise spec.SpecError(f"{path} does not exist: name the folder of a run, or a .safetensors file")
    if not path.is_dir():
        return path
    if (path / BEST).exists():
        return path / BEST
    folder = states.newest(path)
    if folder is None:
        raise spec.SpecError(
            f"{path} is not the folder of a run, it has no checkpoint: name what train --out was given"
        )
    return folder / states.WEIGHTS


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Nobody else trains the run meanwhile; raises SpecError where somebody does."""
    try:
        file = open(run / LOCK, "w")  # noqa: SIM115 (the system unlocks it, whatever ends the process)
    except OSError as error:
        raise spec.SpecError(f"{run} cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise spec.SpecError(f"{run} is being trained by another process: wait for it, or stop it") from None
        except OSError as error:
            raise spec.SpecError(f"{run} cannot be locked: {error.strerror}; use a folder on another disk") from None
        yield


def _check_new(run: Path) -> None:
    """Raises SpecError unless there is nothing, or what a run left that was killed before its first checkpoint."""
    if run.exists() and not run.is_dir():
        raise spec.SpecError(f"{run} is a file: name a folder for the run")
    if run.is_dir() and states.newest(run):
        raise spec.SpecError(f"{run} has a run already: go on with --resume {run}, or name another folder")
    names = sorted(path.name for path in run.glob("[!.]*"))
    others = [name for name in names if name not in (SETTINGS, log.STEPS, log.EPOCHS)]
    if others:
        raise spec.SpecError(f"{run} has other files, such as {others[0]}: name a new folder for the run")


def _check_same(run: Path, task: Task, saved: Saved) -> None:
    """Raises SpecError where data or settings have changed so that the checkpoint is none of their run."""
    settings, state, each = task.settings, saved.state, task.steps_per_epoch
    if task.images != state.images:
        (found, validated), (began, began_validated) = task.images, state.images
        raise spec.SpecError(
            f"{settings.data} has {found} images to train on and {validated} to validate on, {run} began with {began} "
            f"and {began_validated}: bring those back, or begin another run"
        )
    done = len(state.history)
    ends = [(epoch.epoch, epoch.step) for epoch in state.history]
    inside = done * each <= state.step <= min(done + 1, settings.epochs) * each
    if ends != [(i, i * each) for i in range(1, done + 1)] or not inside:
        raise spec.SpecError(
            f"{run / SETTINGS} makes {settings.epochs} epochs of {each} steps, which step {state.step} after {done} "
            "epochs does not fit: put back what the run was begun with"
        )
    if saved.checkpoint.dtype != settings.dtype or bool(saved.velocities) != bool(settings.momentum):
        raise spec.SpecError(
            f"{run / SETTINGS} has dtype {settings.dtype} and momentum {settings.momentum}, which its checkpoint does "
            "not fit: put back what the run was begun with"
        )


def _movable(settings: Settings) -> Settings:
    """The settings with whole paths, so that a run goes on, or is made again, from any folder."""
    names = {name: getattr(settings, name) for name in ("network", "data", "data_dir")}
    whole = {name: str(Path(given).resolve()) for name, given in names.items() if given and os.path.exists(given)}
    if settings.data == FASHION_MNIST:
        whole.pop("data", None)
    return Settings(**settings.model_dump() | whole)
