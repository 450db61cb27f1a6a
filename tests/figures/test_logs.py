"""A run folder is read as a whole, or refused in a sentence."""

import json
import re
from dataclasses import replace

import pytest

import spec
from densenet_tools.figures.logs import read_run
from densenet_tools.training import log
from densenet_tools.training.state import Epoch

STEP = {"step": 1, "epoch": 0.5, "loss": 2.3, "accuracy": 0.125, "learning_rate": 0.1}
EPOCH = {
    "epoch": 1,
    "step": 2,
    "learning_rate": 0.1,
    "loss": 2,
    "accuracy": 0.25,
    "validation_loss": 1.5,
    "validation_accuracy": 0.5,
    "images_per_second": 10.0,
    "seconds": 1.0,
}


def write(folder, epochs, steps):
    """Logs of lines that are given as text or as tables."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("log.jsonl", epochs), ("steps.jsonl", steps)):
        (folder / name).write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return folder


def test_a_run_is_its_steps_and_its_epochs(tmp_path):
    found = read_run(write(tmp_path / "run", [EPOCH], [STEP, STEP | {"step": 2, "epoch": 1, "loss": 2}]))
    assert [(step.step, step.epoch, step.loss, step.accuracy) for step in found.steps] == [
        (1, 0.5, 2.3, 0.125),
        (2, 1.0, 2.0, 0.125),
    ]
    assert [(e.epoch, e.validation_loss, e.validation_accuracy) for e in found.epochs] == [(1, 1.5, 0.5)]


def test_without_validation_its_figures_are_none(tmp_path):
    (epoch,) = read_run(
        write(tmp_path / "run", [EPOCH | {"validation_loss": None, "validation_accuracy": None}], [STEP])
    ).epochs
    assert (epoch.validation_loss, epoch.validation_accuracy) == (None, None)


def test_what_a_killed_run_left_of_a_line_is_left_aside(tmp_path):
    folder = write(tmp_path / "run", [EPOCH], [STEP])
    for name in ("log.jsonl", "steps.jsonl"):
        with open(folder / name, "a") as log:
            log.write('{"epoch": 2, "ste')
    assert read_run(folder) == read_run(write(tmp_path / "other", [EPOCH], [STEP]))


def test_what_training_writes_is_read(tmp_path):
    step = log.Step(**STEP)
    log.append_steps(tmp_path, [step])
    log.append_steps(tmp_path, [replace(step, step=2, epoch=1.0)])
    log.write_epochs(tmp_path, [Epoch(**EPOCH)])
    assert read_run(tmp_path) == read_run(write(tmp_path / "run", [EPOCH], [STEP, STEP | {"step": 2, "epoch": 1.0}]))


BAD = {
    "{}": "step: missing, expected the number of the step",
    "[1]": "should be a table, found a list",
    "": "Expecting value: line 1 column 1 (char 0)",
    '{"step": 1,,': "Expecting property name enclosed in double quotes: line 1 column 12 (char 11)",
    json.dumps(STEP | {"loss": "low"}): "loss: should be a valid number, found 'low'",
    json.dumps(STEP | {"step": 1.5}): "step: should be a valid integer, found 1.5",
    "[" * 10**5: "maximum recursion depth exceeded while decoding a JSON array from a unicode string",
}


@pytest.mark.parametrize(("line", "problem"), BAD.items(), ids=[problem.split(",")[0] for problem in BAD.values()])
def test_a_damaged_line_is_named(tmp_path, line, problem):
    folder = write(tmp_path / "run", [EPOCH], [STEP, line, STEP])
    with pytest.raises(spec.SpecError, match=re.escape(f"{folder}/steps.jsonl, line 2 is damaged: {problem}") + "$"):
        read_run(folder)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    folder = write(tmp_path / "run", [EPOCH], [STEP])
    (folder / "log.jsonl").write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(spec.SpecError, match=r"log\.jsonl, line 1 is damaged: "):
        read_run(folder)


def refusal(folder):
    with pytest.raises(spec.SpecError) as error:
        read_run(folder)
    return str(error.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    missing = f"{tmp_path} is not the folder of a run, it has no log.jsonl: name what train --out was given"
    assert refusal(tmp_path) == missing
    assert refusal(tmp_path / "x") == missing.replace(str(tmp_path), str(tmp_path / "x"))
    write(tmp_path, [EPOCH], [STEP])
    (tmp_path / "steps.jsonl").unlink()
    assert refusal(tmp_path) == f"{tmp_path / 'steps.jsonl'} does not exist"


@pytest.mark.parametrize("log", ["", '{"epoch": 1, "ste'])
def test_a_run_without_an_epoch_is_refused(tmp_path, log):
    write(tmp_path, [], [STEP])
    (tmp_path / "log.jsonl").write_text(log)
    assert refusal(tmp_path) == f"{tmp_path} has nothing to plot yet: the first epoch is not done"
