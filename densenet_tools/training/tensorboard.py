"""TensorBoard's events, where tensorboardX is installed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import spec
from densenet_tools.training.log import EVENTS, Step
from densenet_tools.training.state import Epoch


@contextmanager
def board(run: Path, step: int) -> Iterator[Callable[[Step | Epoch], None]]:
    """A function that adds a point of each figure of what is done; without tensorboardX one that does nothing.

    `step` steps are done: TensorBoard leaves out what a run that was killed has left of later ones. An epoch, and
    what came before it, is on the disk once it is added. Raises SpecError where that is not possible.
    """
    if find_spec("tensorboardX") is None:
        yield lambda done: None
        return
    with _without_torch():  # and no SummaryWriter, whose thread dies on a full disk while all wait for it
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event

    def write(**fields: Any) -> None:
        with _named(folder):
            file.write(Event(wall_time=time.time(), **fields).SerializeToString())

    def add(done: Step | Epoch) -> None:
        write(step=done.step, summary={"value": _points(done)})
        if isinstance(done, Epoch):
            with _named(folder):
                file.flush()

    folder = run / EVENTS
    with _named(folder):
        folder.mkdir(exist_ok=True)
        file = RecordWriter(str(folder / f"events.out.tfevents.{time.time_ns()}"))  # TensorBoard reads them by name
    try:
        write(file_version="brain.Event:2")
        write(step=step + 1, session_log={"status": "START"})
        yield add
    finally:
        with _named(folder):
            file.close()


def _points(done: Step | Epoch) -> list[dict[str, Any]]:
    part = "epoch" if isinstance(done, Epoch) else "step"
    figures = {name: value for name, value in asdict(done).items() if name not in ("step", "epoch")}
    return [{"tag": f"{part}/{name}", "simple_value": value} for name, value in figures.items() if value is not None]


@contextmanager
def _without_torch() -> Iterator[None]:
    """tensorboardX imports PyTorch where it is installed, for tensors: seconds, and a framework more than was asked."""
    absent = "torch" not in sys.modules
    if absent:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["torch"]


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise spec.SpecError(f"{folder} cannot be written: {error.strerror}") from None
