"""Signals: SIGKILL at any moment costs no bit; Ctrl-C and SIGTERM stop after the step, and save."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from densenet_tools.commands.app import main
from densenet_tools.commands.stopping import SIGNALS
from densenet_tools.training import Settings, settings as files, state as states
from densenet_tools.training.runs import LOCK
from tests.support import FRAMEWORKS, require
from tests.trained import signalled
from tests.training.support import EPOCHS, STEPS, begin, checkpoint_step, content, go_on, outcome, settings

KILLS = 20
LONGER = {"epochs": 100, "checkpoint_seconds": 0}


def start(chosen: Settings, run: Path) -> subprocess.Popen[str]:
    """`densenet train`, or with --resume once there is a checkpoint."""
    if run.exists() and states.newest(run):
        options = ["--resume", str(run)]
    else:
        config = run.with_suffix(".toml")
        files.write(config, chosen)
        options = ["--config", str(config), "--out", str(run)]
    command = [sys.executable, "-m", "densenet_tools", "train", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def step_of(run: Path) -> int:
    """The step of the newest checkpoint; -1 without one."""
    newest = states.newest(run)
    return int(newest.name.split("-")[1]) if newest else -1


def wait(process: subprocess.Popen[str], until, seconds: float = 60) -> None:
    """Until that holds, the process has ended, or time is up."""
    end = time.monotonic() + seconds
    while process.poll() is None and not until() and time.monotonic() < end:
        time.sleep(0.001)


def test_a_process_that_is_killed_is_gone_on_with_in_another(data, tmp_path, undisturbed):
    run = tmp_path / "run"
    process = start(settings(data, checkpoint_seconds=0), run)
    wait(process, lambda: step_of(run) >= 1)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.communicate()
    process.communicate()
    assert 1 <= checkpoint_step(run) < STEPS
    go_on(run)
    assert outcome(run) == undisturbed("torch")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_a_run_that_is_killed_at_twenty_random_moments_ends_the_same(name, data, tmp_path):
    """Every second time while a checkpoint is being written."""
    chosen, run = settings(data, name, **LONGER), tmp_path / "run"
    begin(chosen, tmp_path / "whole")
    rng, inside = random.Random(0), 0
    for kill in range(KILLS):
        before, process = step_of(run), start(chosen, run)
        wait(process, lambda: step_of(run) > before)  # noqa: B023
        time.sleep(rng.uniform(0, 0.2))
        if kill % 2:
            wait(process, lambda: any(run.glob(f"{states.UNFINISHED}*")))
        process.kill()
        out, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, (kill, out, err)
        inside += any(run.glob(f"{states.UNFINISHED}*"))
    process = start(chosen, run)
    out, err = process.communicate()
    assert process.returncode == 0, err
    print(f"{name}: {KILLS} kills, {inside} inside a checkpoint's write")
    assert inside >= KILLS / 4
    assert outcome(run) == outcome(tmp_path / "whole")


def test_ctrl_c_stops_a_process_after_the_step_and_saves_it(data, tmp_path):
    require("torch")
    run = tmp_path / "run"
    process = start(settings(data, epochs=1000), run)
    assert process.stdout
    assert process.stdout.readline().endswith("5,000 steps of 8\n")
    assert process.stdout.readline().startswith("epoch 1/1000")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    step = checkpoint_step(run)
    assert err == f"densenet: stopped after step {step} of 5000: go on with densenet train --resume {run}\n"
    assert step >= STEPS // EPOCHS
    assert len((run / "steps.jsonl").read_text().splitlines()) == step


@pytest.fixture
def begun(data, tmp_path) -> Path:
    """A run of the reference with nothing but its first checkpoint."""
    begin(settings(data, "numpy"), tmp_path / "run", items=0)
    return tmp_path / "run"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("step", [1, 3, STEPS // 2])
def test_a_signal_within_a_step_saves_that_step(number, step, begun, undisturbed):
    found = signalled(step, [number], "train", "--resume", str(begun))
    assert (found.returncode, found.stderr) == (
        128 + number,
        f"densenet: stopped after step {step} of {STEPS}: go on with densenet train --resume {begun}\n",
    )
    assert checkpoint_step(begun) == step
    assert main(["train", "--resume", str(begun)]) == 0
    assert outcome(begun) == undisturbed("numpy")


def test_a_second_signal_ends_it_at_once(begun, undisturbed):
    found = signalled(3, [signal.SIGINT, signal.SIGINT], "train", "--resume", str(begun))
    assert (found.returncode, found.stderr) == (128 + signal.SIGINT, "densenet: interrupted\n")
    assert checkpoint_step(begun) == 0
    assert main(["train", "--resume", str(begun)]) == 0
    assert outcome(begun) == undisturbed("numpy")


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_train_one_run(begun, capsys):
    """The second is told so, and changes nothing; once the first has ended, whatever way, the run is free."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(begun / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    before = content(begun)
    assert main(["train", "--resume", str(begun)]) == 2
    said = f"densenet: {begun} is being trained by another process: wait for it, or stop it\n"
    assert capsys.readouterr().err == said
    assert content(begun) == before
    holder.kill()
    holder.communicate()
    assert main(["train", "--resume", str(begun)]) == 0
