"""TensorBoard's events: a point for each figure, none twice however often a run is gone on with."""

import errno
import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from densenet_tools import backends, training
from densenet_tools.training import Epoch, Step, tensorboard
from tests.support import FRAMEWORKS
from tests.training.support import BATCH, COUNT, EPOCHS, STEPS, refused, settings

Point = tuple[str, int, float]  # tag, step, value
STEP = Step(step=1, epoch=0.5, loss=2.5, accuracy=0.25, learning_rate=0.125)
EPOCH = Epoch(1, 2, 0.125, 2.25, 0.5, None, None, 100.0, 3.0)


@pytest.fixture(autouse=True)
def _is_installed():
    pytest.importorskip("tensorboardX")


def events(folder: Path) -> Iterator[Any]:
    """The events in the order in which TensorBoard reads them: of one file after another, by their names.

    A record is its length, 8 bytes; the masked CRC of that, 4; its content; and the masked CRC of that, 4.
    """
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    for path in sorted(folder.glob("*tfevents*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            record, rest = content[12 : 12 + length], content[12 + length :]
            assert struct.unpack("<I", content[8:12]) == (masked_crc32c(content[:8]),)
            assert struct.unpack("<I", rest[:4]) == (masked_crc32c(record),)
            yield Event.FromString(record)
            content = rest[4:]


def shown(folder: Path) -> list[Point]:
    """What TensorBoard shows: a session that starts at a step takes back all points from that step on."""
    points: list[Point] = []
    for event in events(folder):
        if event.HasField("session_log") and event.session_log.status == event.session_log.START:
            points = [point for point in points if point[1] < event.step]
        points += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return points


def trained(run: Any, items: int | None, folder: Path) -> None:
    with training.board(folder, run.state.step) as add:
        for done in islice(run.steps(), items):
            add(done)


def test_what_is_added_is_read_back(tmp_path):
    with tensorboard.board(tmp_path, 0) as add:
        add(STEP)
        add(EPOCH)
    first, start, *_ = events(tmp_path / "tensorboard")
    assert first.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (1, start.session_log.START)
    assert shown(tmp_path / "tensorboard") == [
        ("step/loss", 1, 2.5),
        ("step/accuracy", 1, 0.25),
        ("step/learning_rate", 1, 0.125),
        ("epoch/learning_rate", 2, 0.125),
        ("epoch/loss", 2, 2.25),
        ("epoch/accuracy", 2, 0.5),
        ("epoch/images_per_second", 2, 100.0),
        ("epoch/seconds", 2, 3.0),
    ]


def test_an_epoch_is_on_the_disk_once_it_is_added(tmp_path):
    with tensorboard.board(tmp_path, 0) as add:
        add(STEP)
        add(EPOCH)
        assert {tag.partition("/")[0] for tag, *_ in shown(tmp_path / "tensorboard")} == {"step", "epoch"}


def test_a_run_that_is_broken_off_and_gone_on_with_shows_each_point_once(data, tmp_path):
    """It is broken off after three steps that no checkpoint has, and between an epoch's last step and its end."""
    run, each = tmp_path / "run", STEPS // EPOCHS
    with training.begun(settings(data, "numpy"), run) as (begun, _):
        trained(begun, 3, run)
    for items in (each, each + 1, None):
        with training.resumed(run) as resumed:
            trained(resumed, items, run)
    found = shown(run / "tensorboard")
    assert len(list((run / "tensorboard").iterdir())) == 4
    logged = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [(step, value) for tag, step, value in found if tag == "step/loss"] == [
        (line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in logged
    ]
    assert [step for tag, step, _ in found if tag == "epoch/validation_accuracy"] == [each, STEPS]
    assert set(Counter((tag, step) for tag, step, _ in found).values()) == {1}
    assert STEPS * BATCH == COUNT * EPOCHS


def test_nothing_is_written_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # an import would fail
    with tensorboard.board(tmp_path, 0) as add:
        add(STEP)
        add(EPOCH)
    assert list(tmp_path.iterdir()) == []


def test_no_framework_is_imported_for_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from densenet_tools.training import board\n"
        "with board(Path(sys.argv[1]), 0): print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "tensorboardX" in loaded
    assert not ({*FRAMEWORKS, *backends.FRAMEWORKS_OF_KERAS, "matplotlib"} & loaded)


def test_torch_can_be_imported_afterwards(tmp_path):
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    with tensorboard.board(tmp_path, 0):
        pass
    import torch

    assert torch.__version__


class Full:
    """A disk without room."""

    def __init__(self, path: str):
        self.path = path

    def write(self, record: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_a_full_disk_is_said_in_a_sentence(tmp_path, monkeypatch):
    import tensorboardX

    monkeypatch.setattr(tensorboardX, "RecordWriter", Full)
    with refused(f"{tmp_path}/tensorboard cannot be written: No space left on device"), tensorboard.board(tmp_path, 0):
        raise AssertionError("it has begun")


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "tensorboard").touch()
    with refused(f"{tmp_path}/tensorboard cannot be written: "), tensorboard.board(tmp_path, 0):
        raise AssertionError("it has begun")
