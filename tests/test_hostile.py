"""What a user gets wrong, and what a machine does: one sentence, the right exit status, and nothing lost."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import spec
from densenet_tools.commands import app, files, show
from densenet_tools.commands.app import main
from spec.shapes import Misfit
from tests.data.support import write_folder

TINY = 'extends = "densenet40_k12_bc"\ngrowth_rate = 4\nblock_config = [1, 1]\ninput_size = 16\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a config file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def parity(*more: str) -> list[str]:
    return ["parity", "tiny.toml", "--backends", "numpy", *more]


DEEP = "[" * 5000 + "]" * 5000
CONFIGS = {
    "family.toml": ('family = ["densenet"]\n', "family: unknown ['densenet'], did you mean 'densenet'?"),
    "family.json": (
        '{"family": {"name": "densenet"}}',
        "family: unknown {'name': 'densenet'}, known: densenet",
    ),
    "deep.toml": (f"growth_rate = {DEEP}\n", "deep.toml is nested more deeply than any config"),
    "deep.json": (f'{{"growth_rate": {DEEP}}}', "deep.json is nested more deeply than any config"),
    "digits.toml": (f"growth_rate = {'9' * 5000}\n", "digits.toml is not valid TOML: Exceeds the limit"),
    "digits.json": (f'{{"growth_rate": {"9" * 5000}}}', "digits.json is not valid JSON: Exceeds the limit"),
    "empty.json": ("", "empty.json is not valid JSON"),
    "list.json": ("[1]", "list.json must hold a table of fields, found a list"),
    "wide.toml": (f"growth_rate = {'9' * 401}\nblock_config = [1]\n", "growth_rate: should be less than or equal to"),
    "deeper.toml": (
        "growth_rate = 4\nblock_config = [1000000]\n",
        "deeper.toml: block_config: should have at most 10000 layers in all, found [1000000]",
    ),
    "long.json": (
        json.dumps({"growth_rate": 4, "block_config": [1] * 10001}),
        "block_config: should have at most 10000 layers in all, found [1, 1, 1, 1, 1, 1, ...]",
    ),
    "stages.json": (
        json.dumps({"family": "resnet", "block_config": [1] * 1000}),
        "Residual.in_channels: should be at most 1000000000",
    ),
    "product.toml": (
        'extends = "densenet121"\ngrowth_rate = 1000000000\n',
        "out_channels: should be at most 1000000000",
    ),
    "negative.toml": ('extends = "lenet"\nnum_classes = -1\n', "num_classes: should be greater than 0, found -1"),
    "zero.toml": ('extends = "lenet"\ninput_size = 0\n', "input_size: should be greater than 0, found 0"),
    "nan.toml": ('extends = "resnet18"\neps = nan\n', "eps: should be"),
    "infinite.toml": ('extends = "resnet18"\neps = inf\n', "eps: should be a finite number, found inf"),
    "bytes.toml": (b"\xff\xfe", "bytes.toml is not valid TOML: 'utf-8' codec can't decode"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_is_none_is_refused_in_a_sentence(folder, capsys, name):
    content, sentence = CONFIGS[name]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["show", name]) == 2
    found = capsys.readouterr().err
    assert sentence in found
    assert found.count("\n") == 1


SETTINGS = [
    (["show", "lenet", "--set", "a\nb\x1b[31m=1"], "lenet: a b\\x1b[31m: unknown field"),
    (parity("--seed", "-1"), "seed must be a whole number not below 0, found -1"),
    (["show", "lenet", "--set", f"num_classes={'9' * 5000}"], "num_classes: should be a valid integer, found '999"),
    (["show", "lenet", "--set", f"num_classes={DEEP}"], "num_classes: should be a valid integer, found '[[["),
    (["show", "lenet", "--set", 'family=["lenet"]'], "family: unknown ['lenet']"),
    (parity("--batch", "1000000000"), "tiny at 1000000000 x 3x16x16 needs at least 53.1 TiB"),
    (parity("--batch", "0"), "--batch must be at least 1, found 0"),
    (parity("--batch", "-3"), "--batch must be at least 1, found -3"),
    (parity("--input", "3x99999x99999"), "tiny at 2 x 3x99999x99999 needs at least "),
    (parity("--input", "3x16"), "--input takes CxHxW, such as 3x224x224, found '3x16'"),
    (parity("--input", "3x-16x16"), "--input takes CxHxW, such as 3x224x224, found '3x-16x16'"),
    (parity("--input", f"3x16x{'9' * 400}"), "--input takes CxHxW"),
    (parity("--set", "num_classes=900000000"), "tiny at 2 x 3x16x16 needs at least "),
    (
        ["compare", "nin", "--input", "1x99999x99999", "--backends", "numpy"],
        "nin at 1 x 1x99999x99999 needs at least",
    ),
    (["show", "lenet", "--set", "num_classes=900000000", "--backend", "numpy"], "lenet at 1 x 1x32x32 needs at least "),
    (parity("--json", "."), "--json . cannot be written: it is a directory, name a file in it"),
    (parity("--json", "none/x.json"), "--json none/x.json cannot be written: none is not a directory"),
    (parity("--json", "tiny.toml"), "--json tiny.toml is a file that is read: name another one"),
    (parity("--json", "./tiny.toml"), "--json tiny.toml is a file that is read"),
    (parity("--json", "x.html", "--html", "x.html"), "--html x.html is what --json writes: name another file"),
    (parity("--json", "/dev/full"), "/dev/full cannot be written: No space left on device"),
    (["compare", "tiny.toml", "--backends", "numpy", "--json", "tiny.toml"], "--json tiny.toml is a file that is read"),
]


@pytest.mark.parametrize(("argv", "sentence"), SETTINGS, ids=[sentence[:50] for _, sentence in SETTINGS])
def test_a_setting_that_is_none_is_refused_in_a_sentence(folder, capsys, argv, sentence):
    assert main(argv) == 2
    found = capsys.readouterr().err
    assert found.startswith(f"densenet: {sentence}") or sentence in found
    assert found.count("\n") == 1
    assert (folder / "tiny.toml").read_text() == TINY


def train(*more: str) -> list[str]:
    return ["train", "tiny.toml", "--data", "pictures", "--backend", "numpy", "--batch-size", "2", *more]


EVALUATE = ["evaluate", "tiny.safetensors", "--data", "pictures", "--backend", "numpy"]
PREDICT = ["predict", "tiny.safetensors", "--backend", "numpy"]
LEARNING = [
    (["train"], "train needs a folder for the run, such as --out runs/first, or --resume with one"),
    (["train", "tiny.toml"], "train needs a folder for the run"),
    (["train", "--out", "run"], "train needs a network, such as densenet40_k12_bc, or a --config that names one"),
    (train("--out", "tiny.toml"), "tiny.toml is a file: name a folder for the run"),
    (train("--out", "pictures"), "pictures has other files, such as cat: name a new folder for the run"),
    (train("--out", "pictures/run"), "--out pictures/run lies in the folder of images, whose folders are classes"),
    (train("--out", "run", "--set", "num_classes=3"), "pictures has 2 classes, num_classes is set to 3: leave it out"),
    (train("--out", "run", "--set", "growth=3"), "tiny.toml: growth: unknown field, did you mean 'growth_rate'?"),
    (
        train("--out", "run", "--set", "classifier_activation=softmax"),
        "tiny ends in a softmax, a loss needs logits: set classifier_activation to none",
    ),
    (train("--out", "run", "--epochs", "0"), "epochs: should be greater than 0, found 0"),
    (train("--out", "run", "--epochs", "many"), 'Invalid value for --epochs: unable to convert "many" into int.'),
    (train("--out", "run", "--image-size", "0"), "image_size: should be greater than 0, found 0"),
    (train("--out", "run", "--learning-rate", "1e300"), "learning_rate: should be less than or equal to 1000000000"),
    (train("--out", "run", "--milestones", "0.5", "0.2"), "milestones should rise between 0 and 1, found [0.5, 0.2]"),
    (train("--out", "run", "--schedule", "linear"), 'Invalid value "linear" for --schedule. Choose from: "constant"'),
    (train("--out", "run", "--device", "tpu"), "device must be cpu, gpu or gpu:N, found 'tpu'"),
    (train("--out", "run", "--device", "gpu"), "device 'gpu' is not there: the reference computes on the cpu; use cpu"),
    (train("--out", "run", "--momentum", "0"), "nesterov needs a momentum above 0, found momentum 0.0"),
    (train("--out", "run", "--validation", "1"), "validation: should be less than 1, found 1.0"),
    (
        ["train", "tiny.toml", "--out", "run", "--data", "pictures", "--backend", "numpy", "--batch-size", "5"],
        "batch_size must be at most 4, as many images as there are, found 5",
    ),
    (
        train("--out", "run", "--data-dir", "."),
        "--data-dir is for the files of fashion-mnist: leave it out with the fo",
    ),
    (
        ["train", "tiny.toml", "--out", "run", "--data-dir", "pictures"],
        "pictures should hold the four files of Fashion",
    ),
    (["train", "tiny.toml", "--out", "run", "--data", "fashion"], "'fashion' is no data set and no folder of images, "),
    (
        ["train", "none.toml", "--out", "run", "--data", "pictures"],
        "none.toml cannot be read: No such file or director",
    ),
    (["train", "x", "--out", "run", "--data", "pictures"], "unknown variant 'x': known: densenet121"),
    (["train", "--config", "none.toml", "--out", "run"], "none.toml does not exist"),
    (["train", "--config", "tiny.toml", "--out", "run"], "tiny.toml: extends: unknown field, known: network"),
    (["train", "--config", "zero.toml", "--out", "run"], "zero.toml: epochs: should be greater than 0, found 0"),
    (["train", "--config", "pictures", "--out", "run"], "pictures cannot be read: it is not a file"),
    (["train", "--resume", "none"], "none is not the folder of a run, it has no settings.toml: name what train --out"),
    (["train", "--resume", "pictures"], "pictures is not the folder of a run, it has no settings.toml"),
    (
        ["train", "tiny.toml", "--resume", "run"],
        "--resume goes on with a run as it was begun: leave the network, --out",
    ),
    (
        ["train", "--resume", "run", "--epochs", "3"],
        "epochs cannot change in a run that goes on: leave it out, or begin",
    ),
    (["evaluate", "tiny.safetensors"], 'Command "evaluate" parameter --data requires an argument.'),
    (["evaluate", "pictures", "--data", "pictures"], "pictures is not the folder of a run, it has no checkpoint: name"),
    (["evaluate", "none.safetensors", "--data", "pictures"], "none.safetensors does not exist"),
    ([*EVALUATE, "--batch-size", "0"], "batch_size must be at least 1, found 0"),
    ([*EVALUATE, "--device", "gpu"], "device 'gpu' is not there: the reference computes on the cpu; use cpu"),
    ([*EVALUATE, "--json", "tiny.safetensors"], "--json tiny.safetensors is a file that is read: name another one"),
    ([*EVALUATE, "--json", "pictures/cat/0.png"], "--json pictures/cat/0.png is a file that is read: name another one"),
    ([*EVALUATE, "--json", "pictures"], "--json pictures cannot be written: it is a directory, name a file in it"),
    ([*EVALUATE, "--plot", "none/x.png"], "--plot none/x.png cannot be written: none is not a directory"),
    ([*EVALUATE, "--plot", "x.jpg"], "x.jpg must end in .png or .svg or .pdf"),
    ([*EVALUATE, "--plot", "x.png", "--json", "x.png"], "--plot x.png is what --json writes: name another file"),
    ([*EVALUATE, "--theme", "pink"], 'Invalid value "pink" for --theme. Choose from: "light", "dark".'),
    ([*EVALUATE, "--data-dir", "."], "--data-dir is for the files of fashion-mnist: leave it out with the folder pict"),
    (["evaluate", "tiny.safetensors", "--data", "x", "--backend", "caffe"], "unknown backend 'caffe': known: numpy"),
    (["evaluate", "tiny.safetensors", "--data", "x", "--backend", "torch:fast"], "unknown executor 'fast' of backend"),
    (PREDICT, "predict needs photographs, or --data with a data set: name one of the two"),
    ([*PREDICT, "a.png", "--data", "pictures"], "predict needs photographs, or --data with a data set: name one"),
    ([*PREDICT, "none.png"], "image none.png does not exist"),
    ([*PREDICT, "tiny.toml"], "tiny.toml cannot be read as an image: "),
    ([*PREDICT, "--data", "pictures", "--count", "0"], "--count must be at least 1, found 0"),
    ([*PREDICT, "--data", "pictures", "--count", "101", "--grid", "x.png"], "--grid has room for 100 images: set"),
    ([*PREDICT, *["a.png"] * 101, "--grid", "x.png"], "--grid has room for 100 images: set --count, or name fewer"),
    ([*PREDICT, "a.png", "--data-dir", "."], "--data-dir is for the files of --data fashion-mnist: leave it out with"),
    ([*PREDICT, "a.png", "--grid", "a.png"], "--grid a.png is a file that is read: name another one"),
    (["heatmap", "pictures"], "pictures is not the folder of a run, it has no checkpoint: name what train --out was"),
    (["heatmap", "tiny.safetensors", "--out", "tiny.safetensors"], "tiny.safetensors must end in .png or .svg or .pdf"),
    (["plot"], "plot needs the folders of runs, such as densenet plot runs/torch runs/mxnet"),
    (["plot", "[red]"], "[red] is not the folder of a run, it has no log.jsonl: name what train --out was given"),
]


@pytest.mark.parametrize(("argv", "sentence"), LEARNING, ids=[sentence[:50] for _, sentence in LEARNING])
def test_what_cannot_be_trained_or_looked_at_is_refused_in_a_sentence(folder, capsys, argv, sentence):
    """And nothing is left of it: what is begun again does not find a run."""
    if argv[0] != "train":
        pytest.importorskip("matplotlib")
    write_folder(folder / "pictures", ["cat", "dog"], count=2, parts=())
    (folder / "a.png").write_bytes((folder / "pictures/cat/0.png").read_bytes())
    (folder / "zero.toml").write_text("epochs = 0\n")
    network = spec.load("tiny.toml", num_classes=2)
    own = spec.Preprocessing(size=16, resize=None)
    spec.save("tiny.safetensors", network, spec.initialize(network, 0), own, classes=["cat", "dog"])
    before = sorted(folder.rglob("*"))
    assert main(argv) == 2
    found = capsys.readouterr()
    assert found.err.startswith(f"densenet: {sentence}")
    assert (found.out, found.err.count("\n")) == ("", 1)
    assert sorted(folder.rglob("*")) == before
    assert (folder / "tiny.toml").read_text() == TINY


@pytest.mark.parametrize("argv", [["show", "pipe.toml"], parity("--images", "pipe.png")], ids=["config", "image"])
def test_a_pipe_is_not_waited_for(folder, capsys, argv):
    os.mkfifo(argv[-1])
    assert main(argv) == 2
    assert f"{argv[-1]} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["my net", "a:b", "[red]", "_x", "-1+2", "\N{GREEK SMALL LETTER PHI}", "%s {0}"])
def test_a_file_may_have_any_name_in_every_backend(folder, capsys, name):
    from tests.support import chosen

    (folder / f"{name}.toml").write_text(TINY)
    runners = [runner for name in ["numpy", *chosen()] for runner in (name, *{"keras": ["keras:eager"]}.get(name, []))]
    assert main(["parity", f"./{name}.toml", "--backends", *runners]) == 0
    assert name in capsys.readouterr().out


def test_a_comparison_shows_that_it_is_alive_at_a_terminal_alone(folder):
    """On stderr; stdout has the tables, and nothing else, wherever it goes."""
    command = [sys.executable, "-m", "densenet_tools", *parity()]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (piped.stderr, piped.stdout.count("tolerance")) == ("", 1)
    ours, theirs = os.openpty()
    with open("out", "w", encoding="utf-8") as out:
        assert subprocess.run(command, stdout=out, stderr=theirs, timeout=60, check=False).returncode == 0
    os.close(theirs)
    assert b"tiny" in os.read(ours, 10_000)
    assert (folder / "out").read_text(encoding="utf-8").split()[:9] == piped.stdout.split()[:9]


def test_a_name_with_brackets_is_printed_as_it_is(folder, capsys):
    (folder / "[red]my net.toml").write_text(TINY)
    assert main(["show", "[red]my net.toml"]) == 0
    assert "[red]my net at 3x16x16" in capsys.readouterr().out


def test_a_terminal_without_unicode(folder):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "densenet_tools", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "densenet121" in done.stdout


class TestWriting:
    def test_a_file_is_replaced_in_one_step_and_keeps_its_mode(self, folder):
        (folder / "a").write_text("old")
        os.chmod("a", 0o640)
        files.write(Path("a"), "new\N{GREEK SMALL LETTER PHI}")
        assert (folder / "a").read_bytes() == b"new\xcf\x86"
        assert (folder / "a").stat().st_mode & 0o777 == 0o640
        assert sorted(os.listdir()) == ["a", "tiny.toml"]

    def test_a_link_stays_one(self, folder):
        (folder / "link").symlink_to("a")
        files.write(Path("link"), b"new")
        assert (folder / "link").is_symlink()
        assert (folder / "a").read_bytes() == b"new"

    @pytest.mark.parametrize("function", ["fsync", "replace"])
    def test_where_it_fails_the_old_file_is_whole_and_nothing_else_is_left(self, folder, monkeypatch, function):
        def fail(*_):
            raise OSError(28, "No space left on device")

        (folder / "a").write_text("old")
        monkeypatch.setattr(os, function, fail)
        with pytest.raises(spec.SpecError, match=r"^a cannot be written: No space left on device$"):
            files.write(Path("a"), "new")
        assert (folder / "a").read_text() == "old"
        assert sorted(os.listdir()) == ["a", "tiny.toml"]

    def test_a_reader_never_sees_half_of_it(self, folder):
        """Ten thousand times the same letter, another one each time; whoever reads sees one letter only."""
        files.write(Path("a"), "0" * 10_000)
        done, seen = threading.Event(), set()

        def read():
            while not done.is_set():
                seen.add(Path("a").read_text())

        reader = threading.Thread(target=read)
        reader.start()
        for letter in "123456789":
            files.write(Path("a"), letter * 10_000)
        done.set()
        reader.join()
        assert {len(set(text)) for text in seen} == {1}
        assert {len(text) for text in seen} == {10_000}

    def test_a_report_that_cannot_be_written_leaves_the_old_one(self, folder, monkeypatch, capsys):
        (folder / "report.json").write_text("{}")
        monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        assert main(parity("--json", "report.json")) == 2
        assert "report.json cannot be written: Input/output error" in capsys.readouterr().err
        assert json.loads((folder / "report.json").read_text()) == {}


class TestExitStatus:
    """1 is "does not agree" and nothing else."""

    @pytest.mark.parametrize(
        "error", [ValueError("a\nb"), RuntimeError(), MemoryError(), Misfit("takes"), AssertionError()]
    )
    def test_anything_unforeseen_is_3_and_one_line(self, monkeypatch, capsys, error):
        monkeypatch.setattr(spec, "load", lambda *_, **__: (_ for _ in ()).throw(error))
        assert main(["show", "lenet"]) == 3
        found = capsys.readouterr().err
        assert found.startswith(f"densenet: internal error: {type(error).__name__}:")
        assert found.endswith("; set DENSENET_TRACEBACK=1 for the traceback\n")
        assert found.count("\n") == 1

    def test_the_traceback_is_there_for_who_asks(self, monkeypatch, capsys):
        monkeypatch.setenv("DENSENET_TRACEBACK", "1")
        monkeypatch.setattr(spec, "load", lambda *_, **__: 1 / 0)
        assert main(["show", "lenet"]) == 3
        assert "Traceback (most recent call last)" in capsys.readouterr().err

    def test_an_interrupt_is_none_of_them(self, monkeypatch, capsys):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(show.spec, "load", interrupt)
        assert main(["show", "lenet"]) == 128 + signal.SIGINT
        assert capsys.readouterr().err == "densenet: interrupted\n"

    def test_a_reader_that_goes_away_is_no_error_of_ours(self):
        """`densenet list | head -1`."""
        command = f"{sys.executable} -m densenet_tools list | head -1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 128 + signal.SIGPIPE)
        assert done.stderr == ""


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(spec.SpecError, match="seed must be a whole number not below 0, found "):
        spec.initialize(spec.variant("lenet"), seed)
    assert spec.initialize(spec.variant("lenet"), np.int64(3)).keys()


def test_main_is_what_the_command_runs():
    assert app.main is main
