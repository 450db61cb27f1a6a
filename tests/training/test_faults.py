"""What goes wrong with a run's folder, its settings or its data: one sentence, and nothing lost."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from densenet_tools import training
from densenet_tools.commands.app import main
from densenet_tools.training import runs
from densenet_tools.training.runs import SETTINGS
from tests.data.support import write_folder, write_idx
from tests.training.disk import failing
from tests.training.support import (
    COUNT,
    STOPPED,
    begin,
    checkpoint_step,
    content,
    go_on,
    newest,
    outcome,
    refused,
    settings,
)


class TestDisk:
    def test_a_file_that_cannot_grow_is_said_and_the_checkpoint_before_is_kept(self, run, undisturbed, capsys):
        """The system's own limit, which stands for a full disk: Python ignores the signal that comes with it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            status = main(["train", "--resume", str(run)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        said = capsys.readouterr().err
        assert status == 2
        assert said.startswith(f"densenet: {run}: step 10 cannot be saved: "), said
        assert "File too large" in said
        assert said.endswith(f"; the checkpoint of step {STOPPED} is kept\n")
        assert checkpoint_step(run) == STOPPED
        go_on(run)
        assert outcome(run) == undisturbed("numpy")

    def test_a_full_disk_is_said_by_its_own_words(self, run):
        """Linux has a device that is always full."""
        with training.resumed(run) as resumed:
            next(resumed.steps())
            (run / "steps.jsonl").unlink()
            (run / "steps.jsonl").symlink_to("/dev/full")
            with refused(f"{run}: step 8 cannot be saved: No space left on device; the checkpoint of step 7 is kept"):
                resumed.save()
        assert checkpoint_step(run) == STOPPED

    def test_a_folder_that_cannot_be_written_is_said(self, run, data, tmp_path):
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        before = content(run)
        with failing(run, denied, at=0), refused(f"{run} cannot be written: Permission denied"):
            go_on(run)
        assert content(run) == before
        with (
            failing(tmp_path / "new", denied, at=0),
            refused(f"{tmp_path / 'new'} cannot be written: Permission denied"),
        ):
            begin(settings(data, "numpy"), tmp_path / "new")
        (tmp_path / "file").touch()
        with refused(f"{tmp_path / 'file' / 'new'} cannot be written: Not a directory"):
            begin(settings(data, "numpy"), tmp_path / "file" / "new")


class TestFolder:
    def test_what_is_no_run_is_refused(self, data, tmp_path):
        with refused(f"{tmp_path / 'nowhere'} is not the folder of a run, it has no {SETTINGS}"):
            go_on(tmp_path / "nowhere")
        with refused(f"{data} is not the folder of a run, it has no {SETTINGS}"):
            go_on(data)

    def test_a_run_without_a_checkpoint_is_begun_anew(self, run, data, undisturbed):
        """As one that was killed before its first."""
        shutil.rmtree(newest(run))
        for name in ("best.safetensors", "log.jsonl"):
            (run / name).unlink()
        with refused(f"{run} has no checkpoint to go on from: begin it anew with --out {run}"):
            go_on(run)
        begin(settings(data, "numpy"), run)
        assert outcome(run) == undisturbed("numpy")

    def test_a_run_is_never_begun_over_another_or_over_other_files(self, run, data, tmp_path):
        before = content(run)
        with refused(f"{run} has a run already: go on with --resume {run}, or name another folder"):
            begin(settings(data, "numpy"), run)
        assert content(run) == before
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").touch()
        with refused(f"{tmp_path / 'mine'} has other files, such as thesis.txt: name a new folder for the run"):
            begin(settings(data, "numpy"), tmp_path / "mine")
        with refused(f"{tmp_path / 'mine' / 'thesis.txt'} is a file: name a folder for the run"):
            begin(settings(data, "numpy"), tmp_path / "mine" / "thesis.txt")

    def test_a_run_that_another_process_begins_meanwhile_is_left_alone(self, data, tmp_path, monkeypatch):
        real, run, chosen = runs.new_task, tmp_path / "run", settings(data, "numpy")

        def slow(*arguments):
            monkeypatch.setattr(runs, "new_task", real)
            begin(chosen, run, items=2, save=True)
            return real(*arguments)

        monkeypatch.setattr(runs, "new_task", slow)
        with refused(f"{run} has a run already"):
            begin(chosen, run)
        assert checkpoint_step(run) == 2

    def test_what_cannot_change_is_refused_by_name(self, run):
        for name, value in {"epochs": 3, "seed": 1, "network": "lenet", "dtype": "float64"}.items():
            with refused(f"{name} cannot change in a run that goes on"):
                go_on(run, **{name: value})


SETTINGS_BY_HAND = [
    ("epochs = 2", "epochs = 0", f"{SETTINGS}: epochs: should be greater than 0, found 0"),
    ("epochs = 2", 'epochs = "two"', f"{SETTINGS}: epochs: should be a valid integer, found 'two'"),
    ("epochs = 2", "epochs =", f"{SETTINGS} is not valid TOML: "),
    ("epochs = 2", "epoch = 2", f"{SETTINGS}: epoch: unknown field, did you mean 'epochs'"),
    ("epochs = 2", "epochs = 1", "makes 1 epochs of 5 steps, which step 7 after 1 epochs does not fit"),
    ("batch_size = 8", "batch_size = 10", "makes 2 epochs of 4 steps, which step 7 after 1 epochs does not fit"),
    ("batch_size = 8", "batch_size = 80", "batch_size must be at most 40, as many images as there are, found 80"),
    ('"float32"', '"float64"', "has dtype float64 and momentum 0.9, which its checkpoint does not fit"),
    ("momentum = 0.9", "momentum = 0.0\nnesterov = false", "has dtype float32 and momentum 0.0"),
    ("learning_rate = 0.05", "learning_rate = nan", f"{SETTINGS}: learning_rate: should be "),
    ('backend = "numpy"', 'backend = "caffe"', f"{SETTINGS}: backend: should be 'torch', 'mxnet', 'keras' or 'numpy'"),
]


@pytest.mark.parametrize(("line", "by", "says"), SETTINGS_BY_HAND, ids=[by for _, by, _ in SETTINGS_BY_HAND])
def test_settings_that_were_changed_into_nonsense_are_refused(line, by, says, run):
    text = (run / SETTINGS).read_text()
    assert line in text
    if "nesterov" in by:
        text = text.replace("nesterov = true\n", "")
    (run / SETTINGS).write_text(text.replace(line, by))
    before = content(run)
    with refused(says):
        go_on(run)
    assert content(run) == before


class TestData:
    """What may change is where the data lie."""

    def test_data_that_moved_are_taken(self, run, undisturbed, tmp_path):
        go_on(run, data_dir=str(write_idx(tmp_path / "moved", COUNT, 16)))
        assert outcome(run) == undisturbed("numpy")

    def test_more_images_are_refused(self, run, tmp_path):
        other = write_idx(tmp_path / "more", COUNT + 1, 16)
        before = content(run)
        with refused(f"fashion-mnist has 41 images to train on and 41 to validate on, {run} began with 40 and 40"):
            go_on(run, data_dir=str(other))
        assert content(run) == before

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        """Images that a run, beside them, was begun on."""
        data = write_folder(tmp_path / "data", count=8, size=16)
        begin(settings(tmp_path, "numpy", data=str(data), data_dir=None), tmp_path / "on_folder", items=2, save=True)
        return data

    def test_other_images_to_test_on_are_refused(self, folder, tmp_path):
        (folder / "test" / "cat" / "0.png").unlink()
        run = tmp_path / "on_folder"
        with refused(f"{folder} has 24 images to train on and 23 to validate on, {run} began with 24 and 24"):
            go_on(run)

    def test_other_classes_are_refused(self, folder, tmp_path):
        for part in ("train", "test"):
            (folder / part / "fox").rename(folder / part / "owl")
        with refused("must have the classes of the network: missing 'fox'; unexpected 'owl'"):
            go_on(tmp_path / "on_folder")

    def test_data_that_are_gone_are_refused(self, folder, tmp_path):
        shutil.rmtree(folder)
        with refused(f"{str(folder)!r} is no data set and no folder of images"):
            go_on(tmp_path / "on_folder")
