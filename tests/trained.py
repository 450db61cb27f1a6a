"""What tests of the commands that train, and look at what was trained, share: small data and a network for it."""

import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import spec
from densenet_tools.commands.app import main
from tests.data.support import write_folder

TINY = "growth_rate = 4\nblock_config = [1, 1]\nbn_size = 2\ninput_size = 16\nstem = {channels = 6}\n"
CLASSES = ("cat", "dog", "fox")
COUNT = 4  # images of each class, in each part
SIGNALLED = """
import signal, sys, threading
from densenet_tools.commands.app import main
from densenet_tools.commands.stopping import SIGNALS
from spec import reference

def state():
    return [signal.getsignal(each) for each in SIGNALS], threading.active_count()

def signalled(*arguments):
    global count
    count -= 1
    for number in numbers if count == 0 else ():
        signal.raise_signal(number)
    return step(*arguments)

count, *numbers = map(int, sys.argv.pop(1).split())
step, reference.step = reference.step, signalled
before = state()
status = main(sys.argv[1:])
assert state() == before
sys.exit(status)
"""
SHORT = {"--backend": "numpy", "--epochs": "2", "--batch-size": "4", "--learning-rate": "0.02"}


def write_data(place: Path) -> Path:
    """`tiny.toml`, a network, and `pictures`, its data, in a folder that is made."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.toml").write_text(TINY)
    write_folder(place / "pictures", CLASSES, COUNT)
    return place


def typed(network: str, data: str, *more: str) -> list[str]:
    """The command that trains two epochs with NumPy, unless `more` says otherwise."""
    own = [part for option in SHORT.items() if option[0] not in more for part in option]
    return ["train", network, "--data", data, *own, *more]


def train(place: Path, name: str = "run", *more: str) -> Path:
    """A run on the data of `write_data`, in a folder of that name beside them."""
    assert main(typed(str(place / "tiny.toml"), str(place / "pictures"), "--out", str(place / name), *more)) == 0
    return place / name


def save(name: str, **fields: Any) -> str:
    """The weights of the run in the current folder in another neutral file, some of what it says changed."""
    given = spec.open("run/best.safetensors")
    own = {each: getattr(given, each) for each in ("network", "weights", "preprocessing", "classes")}
    spec.save(name, **own | fields)
    return name


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Runs a command; returns (exit status, stdout, stderr)."""
    capsys.readouterr()
    status = main(list(map(str, argv)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def signalled(step: int, numbers: Sequence[int], *argv: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as users have it, which gets signals while NumPy computes that step, from 1.

    Afterwards handlers and threads are there that were there before, or it fails.
    """
    return python(SIGNALLED, " ".join(map(str, map(int, (step, *numbers)))), *argv)


def warned(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[str, list[str]]:
    """The stdout of a command that succeeds, and what it warns of, line by line."""
    with warnings.catch_warnings(action="always", category=spec.SpecWarning):
        status, out, err = run(capsys, *argv)
    assert status == 0
    return out, [line.removeprefix("densenet: ") for line in err.splitlines()]


def done(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The stdout of a command that succeeds and has nothing to say on stderr."""
    status, out, err = run(capsys, *argv)
    assert (status, err) == (0, "")
    return out


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The sentence with which a command ends with status 2, without having printed anything else."""
    status, out, err = run(capsys, *argv)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("densenet: ")
    return err.removeprefix("densenet: ").rstrip("\n")
