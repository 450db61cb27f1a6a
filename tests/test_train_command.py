"""`densenet train`, as it is typed: what it prints and writes, how it is stopped, what a terminal shows meanwhile."""

import inspect
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spec
from densenet_tools import backends
from densenet_tools.commands import evaluate, heatmap, plot, predict, stopping, train as train_
from densenet_tools.training import read
from tests.data.support import write_folder, write_idx
from tests.support import FRAMEWORKS, require
from tests.trained import CLASSES, COUNT, done, python, refused, run, signalled, train, typed, write_data

STEPS = len(CLASSES) * COUNT // 4 * 2  # of a run with SHORT


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a network's config and data for it."""
    monkeypatch.chdir(write_data(tmp_path))
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def new_run(*more: str, network: str = "tiny.toml") -> list[str]:
    """The command, as it is typed in the folder."""
    return typed(network, "pictures", *more)


def test_it_says_what_it_does_and_writes_all_of_it(place, capsys):
    out = done(capsys, *new_run("--out", "runs/first")).splitlines()
    assert out[0] == (f"tiny at 3x16x16, numpy, float32: 12 images of 3 classes, 12 to validate; {STEPS} steps of 4")
    assert out[-1] == "written: runs/first/best.safetensors"
    epochs = lines(place / "runs/first/log.jsonl")
    for line, epoch in zip(out[1:-1], epochs, strict=True):
        assert line == (
            f"epoch {epoch['epoch']}/2  loss {epoch['loss']:.3f}  accuracy {epoch['accuracy']:.4f}  "
            f"validation loss {epoch['validation_loss']:.3f} accuracy {epoch['validation_accuracy']:.4f}  "
            f"{epoch['images_per_second']:,.0f} images/s  {epoch['seconds']:.0f} s"
        )
    steps = lines(place / "runs/first/steps.jsonl")
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert [step["epoch"] for step in steps] == pytest.approx([i / 3 for i in range(1, STEPS + 1)])
    assert np.mean([step["loss"] for step in steps[3:]]) == pytest.approx(epochs[1]["loss"])
    assert np.mean([step["accuracy"] for step in steps[3:]]) == pytest.approx(epochs[1]["accuracy"])


def test_the_run_keeps_its_settings_and_the_file_all_that_it_takes(place, capsys):
    done(capsys, *new_run("--out", "run", "--set", "bn_size=none", "--flip", "--milestones", "0.25", "0.5"))
    settings = read(place / "run/settings.toml")
    assert (settings.epochs, settings.flip, settings.milestones) == (2, True, (0.25, 0.5))
    assert settings.overrides == {"bn_size": None}
    assert settings.data == str(place / "pictures")
    best = spec.open(place / "run/best.safetensors")
    assert best.classes == CLASSES
    assert best.network == spec.load("tiny.toml", num_classes=3, bn_size=None)
    assert best.preprocessing == spec.Preprocessing(size=16, resize=18)


def test_without_a_test_part_nothing_is_validated(place, capsys):
    (place / "pictures" / "test").rename(place / "elsewhere")
    out = done(capsys, *new_run("--out", "run"))
    assert "12 images of 3 classes; 6 steps of 4" in out
    assert "validat" not in out
    assert lines(place / "run/log.jsonl")[0]["validation_loss"] is None
    out = done(capsys, *new_run("--out", "run2", "--validation", "0.25"))
    assert "9 images of 3 classes, 3 to validate; 4 steps of 4" in out
    assert out.count("validation loss") == 2


def test_a_file_of_settings_is_followed_where_nothing_else_is_given(place, capsys):
    own = {"network": "tiny.toml", "data": "pictures", "backend": "numpy", "batch_size": 6, "epochs": 3}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items())
    (place / "settings.toml").write_text(text + "[overrides]\ngrowth_rate = 5\n")
    out = done(capsys, "train", "--config", "settings.toml", "--out", "run", "--epochs", "1", "--set", "bn_size=1")
    assert "tiny at 3x16x16, numpy" in out
    assert "2 steps of 6" in out
    assert "epoch 1/1" in out
    config = spec.open("run/best.safetensors").network.config
    assert (config.growth_rate, config.bn_size) == (5, 1)
    done(capsys, "train", "--config", "run/settings.toml", "--out", "again", "--seed", "1")
    assert read(place / "again/settings.toml").seed == 1


def test_a_run_that_is_done_has_nothing_left_to_go_on_with(place, capsys):
    train(place)
    before = (place / "run/steps.jsonl").read_bytes()
    out = done(capsys, "train", "--resume", "run").splitlines()
    assert out[0].endswith(f"{STEPS} steps of 4, from step {STEPS} on")
    assert out[1:] == ["written: run/best.safetensors"]
    assert (place / "run/steps.jsonl").read_bytes() == before


def test_weights_of_other_classes_are_told_to_get_a_new_classifier(place, capsys):
    train(place)
    (place / "pictures/train/fox").rename(place / "pictures/train/eel")
    (place / "pictures/test/fox").rename(place / "pictures/test/eel")
    argv = new_run("--out", "tuned", "--freeze-epochs", "1", network="run/best.safetensors")
    out = done(capsys, *argv).splitlines()
    assert out[:2] == [f"  classifier.{name}: new, drawn with seed 0" for name in ("weight", "bias")]
    assert spec.open("tuned/best.safetensors").classes == ("cat", "dog", "eel")


@pytest.mark.parametrize(
    ("number", "status", "step"), [(signal.SIGTERM, 143, 1), *((signal.SIGINT, 130, i) for i in (3, 5, STEPS))]
)
def test_a_signal_stops_it_after_the_step_and_saves(place, capsys, number, status, step):
    """After an epoch's last step, too, whose validation is left for later."""
    found = signalled(step, [number], *new_run("--out", "run"))
    assert (found.returncode, found.stderr) == (
        status,
        f"densenet: stopped after step {step} of {STEPS}: go on with densenet train --resume run\n",
    )
    assert "written" not in found.stdout
    assert found.stdout.count("epoch ") == (step - 1) // (STEPS // 2)
    assert f"from step {step} on" in done(capsys, "train", "--resume", "run")
    train(place, "undisturbed")
    assert all(
        (array == spec.open("undisturbed/best.safetensors").weights[name]).all()
        for name, array in spec.open("run/best.safetensors").weights.items()
    )


def test_a_second_signal_does_not_wait(place):
    found = signalled(2, [signal.SIGINT, signal.SIGINT], *new_run("--out", "run"))
    assert (found.stderr, found.returncode) == ("densenet: interrupted\n", 130)


def test_signals_do_afterwards_what_they_did_before():
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    with stopping.stopping():
        assert all(signal.getsignal(number) is not handler for number, handler in before.items())
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_signal_before_the_first_step_does_not_wait_either(place, capsys, monkeypatch):
    """Reading a folder of many images takes a while; until then a signal does what it did before."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}

    def begun(*_: Any) -> None:
        assert {number: signal.getsignal(number) for number in before} == before
        raise KeyboardInterrupt

    monkeypatch.setattr(train_.training, "begun", begun)
    status, _, err = run(capsys, *new_run("--out", "run"))
    assert (err, status) == ("densenet: interrupted\n", 130)


def test_names_neither_color_nor_clear_a_terminal(place, capsys):
    (place / "[red]net.toml").write_text((place / "tiny.toml").read_text())
    out = done(capsys, *new_run("--out", "[bold]\x1b[31m\nrun", network="[red]net.toml"))
    assert out.splitlines()[0].startswith("[red]net at 3x16x16")
    assert out.splitlines()[-1] == r"written: [bold]\x1b[31m\nrun/best.safetensors"
    assert "\x1b" not in out
    (place / "\x1b[31m.toml").write_text((place / "tiny.toml").read_text())
    assert "\x1b" not in "".join(run(capsys, *new_run("--out", "other", network="\x1b[31m.toml"))[1:])


def test_a_run_lies_outside_its_images(place, capsys):
    for out in ("pictures/run", "pictures/train/run"):
        assert refused(capsys, *new_run("--out", out)) == (
            f"--out {out} lies in the folder of images, whose folders are classes: name another one"
        )
        assert not (place / out).exists()
    (place / "link").symlink_to("pictures/train")
    assert "lies in the folder of images" in refused(capsys, *new_run("--out", "link/run"))


def test_only_the_data_set_is_called_fashion_mnist(place, capsys):
    write_idx(place / "idx", 20)
    argv = ["train", "tiny.toml", "--data-dir", "idx", "--backend", "numpy", "--epochs", "1", "--batch-size", "10"]
    out = done(capsys, *argv, "--out", "fashion-mnist/run")
    assert "tiny at 1x16x16, numpy, float32: 20 images of 10 classes, 20 to validate" in out


EXAMPLES = {
    command.__name__: inspect.getdoc(command).split("Example: ")[1]  # type: ignore[union-attr]
    for command in (train_.train, evaluate.evaluate, predict.predict, plot.plot, heatmap.heatmap)
}
SMALLER = {"densenet40_k12_bc": "tiny.toml", "--image-size 28": "--image-size 16", "--epochs 4": "--batch-size 10"}


def test_the_examples_of_the_help_work_as_they_are_typed(place, capsys):
    """On a smaller network, at a smaller size, with a data set of 20 images."""
    pytest.importorskip("matplotlib")
    for name in FRAMEWORKS:
        require(name)
    write_idx(place / "idx", 20)
    assert list(EXAMPLES) == ["train", "evaluate", "predict", "plot", "heatmap"]
    for name, example in EXAMPLES.items():
        for old, new in SMALLER.items():
            example = example.replace(old, new)
        data = ["--data-dir", "idx"] if "fashion-mnist" in example else []
        short = ["--epochs", "1"] if name == "train" else []
        if name == "plot":
            for backend in FRAMEWORKS:
                train(place, f"runs/{backend}")
        out = done(capsys, *shlex.split(example)[1:], *data, *short)
        (written,) = re.findall(r"^written: (.*)$", out, re.MULTILINE)
        assert (place / written).stat().st_size > 0


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_training_loads_no_other_framework(place, name):
    """NumPy's row shows that what TensorBoard needs loads none, though it would load PyTorch."""
    require(name)
    code = (
        "import sys; from densenet_tools.commands.app import main\n"
        "status = main(sys.argv[1:]); print(*sys.modules); raise SystemExit(status)"
    )
    done = python(code, *new_run("--out", "run", "--backend", name, "--epochs", "1"))
    assert (done.returncode, done.stderr) == (0, "")
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert loaded & {*FRAMEWORKS, *backends.FRAMEWORKS_OF_KERAS, "matplotlib"} == {name} - {"numpy"}


def test_the_command_line_loads_nothing_that_only_some_commands_need():
    done = python("import sys; from densenet_tools.commands.app import main; main(['list']); print(*sys.modules)")
    assert not {"tensorboardX", "google.protobuf", "matplotlib"} & set(done.stdout.split())


class Screen:
    """What a terminal shows of the text that it is sent; it knows what rich sends, and no more."""

    WIDTH = 80
    PARTS = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|(.)", re.DOTALL)

    def __init__(self) -> None:
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0

    def send(self, text: str) -> None:
        for private, number, code, letter in self.PARTS.findall(text):
            if letter == "\r":
                self.column = 0
            elif letter == "\n":
                self._down()
            elif letter:
                self._write(letter)
            elif code == "A":
                self.row = max(self.row - int(number or 1), 0)
            elif code == "K":
                self.rows[self.row] = []
            else:
                assert code == "m" or private, f"unknown code {number}{code}"

    def _write(self, letter: str) -> None:
        if self.column == self.WIDTH:
            self.column = 0
            self._down()
        row = self.rows[self.row]
        row += " " * (self.column + 1 - len(row))
        row[self.column] = letter
        self.column += 1

    def _down(self) -> None:
        self.row += 1
        self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]

    @property
    def lines(self) -> list[str]:
        """Those that are not blank."""
        found = ["".join(row).rstrip() for row in self.rows]
        return [line for line in found if line]


def at_a_terminal(*argv: str, interrupt_at: str | None = None) -> list[list[str]]:
    """What the screen shows from moment to moment; once the command has sent so much, Ctrl-C is pressed."""
    ours, theirs = os.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, Screen.WIDTH, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    command = [sys.executable, "-c", TERMINAL, *argv]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True):
        os.close(theirs)
        sent = ""
        while piece := _read(ours):
            sent += piece
            if interrupt_at and interrupt_at in sent:
                os.write(ours, b"\x03")
                interrupt_at = None
    os.close(ours)
    screen, shown = Screen(), []
    for part in sent.split("\r"):  # with which rich begins whatever it draws
        screen.send(f"\r{part}")
        shown.append(screen.lines)
    return shown


TERMINAL = """
import sys, termios, fcntl
from densenet_tools.commands.app import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that a key becomes a signal
raise SystemExit(main(sys.argv[1:]))
"""


def _read(ours: int) -> str:
    """What was sent; empty once nobody can send any more."""
    try:
        return os.read(ours, 2**16).decode()
    except OSError:
        return ""


def test_a_terminal_shows_a_bar_meanwhile_and_whole_lines_in_the_end(place):
    shown = at_a_terminal(*new_run("--out", "run"))
    assert any(re.search(r"0/6.* left$", screen[-1]) for screen in shown if screen)
    assert any("epoch 1/2" in line for screen in shown for line in screen if "epoch 2/2" not in " ".join(screen))
    out = "".join(shown[-1])
    assert re.fullmatch(
        r"tiny at 3x16x16, numpy, float32: 12 images of 3 classes, 12 to validate; 6 steps of 4"
        r"epoch 1/2  loss [^/]* images/s  \d+ sepoch 2/2  loss [^/]* images/s  \d+ swritten: run/best\.safetensors",
        out,
    )


def test_nothing_of_the_bar_is_left_where_it_is_interrupted(place):
    """The terminal shows ^C behind the bar, and that is not to move it to the next line."""
    write_folder(place / "many", CLASSES, count=200, parts=())
    shown = at_a_terminal(*typed("tiny.toml", "many", "--out", "run"), interrupt_at="images/s")
    assert any(re.search(r" left\^C$", screen[-1]) for screen in shown if screen)
    title, stopped = shown[-1]
    assert title == "tiny at 3x16x16, numpy, float32: 600 images of 3 classes; 300 steps of 4"
    assert re.fullmatch(r"densenet: stopped after step \d+ of 300: go on with densenet train --resume run", stopped)
