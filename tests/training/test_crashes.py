"""Ended at any call that changes the disk, or in the middle of a write, a run goes on and ends the same."""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import spec
from densenet_tools.training import Settings, state as states
from tests.data.support import write_idx
from tests.training.disk import Killed, failing
from tests.training.support import begin, go_on, outcome, settings

TINY: dict[str, Any] = {"image_size": 8, "batch_size": 2, "padding": 1, "checkpoint_seconds": 0, "workers": 0}
IMAGES = 4  # so two steps an epoch
TAKING_SPACE = ("open", "save_file", "fsync", "mkdir", "rename")
SOON = 7  # the calls of a run that goes on, before its first step


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids="{} epochs".format)
def chosen(request, tmp_path_factory) -> Settings:
    return settings(write_idx(tmp_path_factory.mktemp("tiny"), IMAGES, 8), "numpy", **TINY, epochs=request.param)


@pytest.fixture(scope="module")
def whole(chosen, tmp_path_factory) -> tuple[dict[str, Any], list[str]]:
    """What a run leaves that nothing ends, and the calls that it makes."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with failing(run, Killed()) as calls:
        begin(chosen, run)
    return outcome(run), calls


def begin_or_go_on(chosen: Settings, run: Path) -> None:
    begin(chosen, run) if states.newest(run) is None else go_on(run)


def test_a_run_that_is_killed_at_any_call_goes_on_and_ends_the_same(chosen, whole, tmp_path):
    """Twice each time: the second time early, while it cleans up and goes on."""
    expected, calls = whole
    for at in (at for at, name in enumerate(calls) if name != "fsync"):  # which changes nothing that is seen
        run = tmp_path / str(at)
        with failing(run, Killed(), at), pytest.raises(Killed):
            begin(chosen, run)
        with failing(run, Killed(), at % SOON), pytest.raises(Killed):
            begin_or_go_on(chosen, run)
        begin_or_go_on(chosen, run)
        assert outcome(run) == expected, (at, calls[at])
        shutil.rmtree(run)


def test_a_run_that_is_killed_in_the_middle_of_a_write_goes_on_and_ends_the_same(chosen, whole, tmp_path):
    expected, calls = whole
    for at in (at for at, name in enumerate(calls) if name in ("open", "save_file")):
        run = tmp_path / str(at)
        with failing(run, Killed(), at, torn=True), pytest.raises(Killed):
            begin(chosen, run)
        begin_or_go_on(chosen, run)
        assert outcome(run) == expected, (at, calls[at])
        shutil.rmtree(run)


def test_a_disk_that_is_full_is_said_and_the_checkpoint_before_is_kept(chosen, whole, tmp_path):
    expected, calls = whole
    reason = os.strerror(errno.ENOSPC)
    for at in (at for at, name in enumerate(calls) if name in TAKING_SPACE):
        run = tmp_path / str(at)
        with failing(run, OSError(errno.ENOSPC, reason), at), pytest.raises(spec.SpecError) as said:
            begin(chosen, run)
        sentence = str(said.value)
        if states.newest(run) is None:
            assert re.fullmatch(f"{run}.* cannot be (written|saved): {reason}(; there is no checkpoint)?", sentence)
        else:
            kept = states.load(run).state.step
            step = re.fullmatch(
                f"{run}: step (.) cannot be saved: {reason}; the checkpoint of step {kept} is kept", sentence
            )
            assert step, (at, calls[at], sentence)
            assert int(step[1]) - kept in (0, 1)
        begin_or_go_on(chosen, run)
        assert outcome(run) == expected, (at, calls[at])
        shutil.rmtree(run)
