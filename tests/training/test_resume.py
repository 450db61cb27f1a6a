"""A run that is broken off anywhere ends as one that is not, to the bit; in another backend, within rounding."""

import threading
from itertools import islice

import numpy as np
import pytest

import spec
from densenet_tools import training
from densenet_tools.training import state as states
from tests.support import FRAMEWORKS, require
from tests.training.support import (
    BATCH,
    EPOCHS,
    ITEMS,
    NETWORK,
    STEPS,
    begin,
    checkpoint_step,
    go_on,
    losses,
    outcome,
    settings,
)

BACKENDS = ["numpy", *FRAMEWORKS]
TOLERANCE = 1e-9
PER_EPOCH = STEPS // EPOCHS


@pytest.mark.parametrize("name", BACKENDS)
def test_a_run_that_is_broken_off_again_and_again_ends_the_same(name, data, tmp_path, undisturbed):
    """Of each three steps that it makes, it loses the third."""
    run = tmp_path / "run"
    begin(settings(data, name, checkpoint_seconds=0), run, items=3)
    reached = [checkpoint_step(run)]
    while go_on(run, items=3):
        reached.append(checkpoint_step(run))
    assert reached == [2, 4, 5, 7, 9, 10]
    assert outcome(run) == undisturbed(name)


@pytest.mark.parametrize(
    ("name", "items"),
    [
        *[("torch", items) for items in (1, PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 1, ITEMS - 1)],
        *[(name, PER_EPOCH + 3) for name in BACKENDS],
    ],
)
def test_a_run_that_is_broken_off_without_a_checkpoint_repeats_its_epoch(name, items, data, tmp_path, undisturbed):
    run = tmp_path / "run"
    begin(settings(data, name), run, items)
    assert checkpoint_step(run) == (0 if items <= PER_EPOCH else PER_EPOCH)
    assert len(go_on(run)) == ITEMS - (0 if items <= PER_EPOCH else PER_EPOCH + 1)
    assert outcome(run) == undisturbed(name)


@pytest.mark.parametrize("what", ["load_velocities", "seed_dropout"])
def test_a_backend_that_forgets_something_ends_otherwise(what, data, tmp_path, undisturbed, monkeypatch):
    """A control: so the network has dropout, and momentum counts."""
    run = tmp_path / "run"
    begin(settings(data), run, items=PER_EPOCH + 3)
    monkeypatch.setattr(require("torch"), what, lambda *arguments: None)
    go_on(run)
    assert outcome(run)["weights"] != undisturbed("torch")["weights"]


def test_the_dropout_of_each_step_has_a_seed_of_its_own(data, tmp_path, monkeypatch):
    found: list[int] = []
    monkeypatch.setattr(require("torch"), "seed_dropout", lambda model, seed: found.append(seed))
    for seed in (0, 1):
        begin(settings(data, seed=seed), tmp_path / str(seed))
    assert len(set(found)) == 2 * STEPS


@pytest.mark.parametrize("items", [3, PER_EPOCH, PER_EPOCH + 1])
def test_a_run_that_saves_when_it_stops_repeats_nothing(items, data, tmp_path, undisturbed):
    run = tmp_path / "run"
    begin(settings(data), run, items, save=True)
    assert checkpoint_step(run) == min(items, PER_EPOCH)
    assert len(go_on(run)) == ITEMS - items
    assert outcome(run) == undisturbed("torch")


@pytest.mark.parametrize("fields", [{"momentum": 0.0, "nesterov": False}, {"validation": 0.25}], ids=str)
def test_a_run_goes_on_without_momentum_and_with_images_held_out(fields, data, tmp_path):
    begin(settings(data, **fields), tmp_path / "whole")
    begin(settings(data, **fields), tmp_path / "run", items=3, save=True)
    go_on(tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_run_that_is_complete_stays_as_it_is(data, tmp_path):
    run = tmp_path / "run"
    begin(settings(data), run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert go_on(run) == []
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_one_may_stop_and_go_on_in_the_same_process(data, tmp_path, undisturbed):
    with training.begun(settings(data), tmp_path / "run") as (run, _):
        first = list(islice(run.steps(), 3))
        rest = list(run.steps())
    assert len(first) + len(rest) == ITEMS
    assert outcome(tmp_path / "run") == undisturbed("torch")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_number_of_threads_changes_nothing_and_none_is_left(workers, data, tmp_path, undisturbed):
    run = tmp_path / "run"
    before = threading.active_count()
    begin(settings(data, workers=workers), run, items=3)
    assert threading.active_count() == before
    go_on(run)
    assert threading.active_count() == before
    assert outcome(run) == undisturbed("torch")


EXACT = {"dtype": "float64", "overrides": NETWORK}  # without dropout: no two frameworks draw the same
BIASED = 1 / (BATCH * 8 * 8 - 1)  # PyTorch's running variances are n / (n - 1) times the others', see spec.running
PAIRS = [("torch", "numpy"), ("torch", "mxnet"), ("torch", "keras"), ("mxnet", "torch"), ("keras", "torch")]


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_a_run_goes_on_in_another_backend_within_rounding(first, then, data, tmp_path):
    whole = begin(settings(data, first, **EXACT), tmp_path / "whole")
    run = tmp_path / "run"
    begin(settings(data, first, **EXACT), run, items=PER_EPOCH + 3, save=True)
    require(then)
    rest = go_on(run, backend=then)
    assert len(losses(rest)) == STEPS - PER_EPOCH - 2
    assert losses(rest) == pytest.approx(losses(whole)[PER_EPOCH + 2 :], rel=TOLERANCE)
    found, expected = (states.load(place).checkpoint.weights for place in (run, tmp_path / "whole"))
    for name, array in expected.items():
        tolerance = BIASED if spec.is_buffer(name) else TOLERANCE
        assert np.abs(found[name] - array).max() <= tolerance * np.abs(array).max(), name
    assert rest[-1].validation_loss == pytest.approx(whole[-1].validation_loss, rel=BIASED)
