"""The curves show what the logs say, and say which line is which."""

import numpy as np
import pytest

from densenet_tools.figures.curves import curves, draw, running_mean
from densenet_tools.figures.logs import Epoch, Run, Step
from tests.figures.support import check_room, laid_out, texts


def run(steps: int, epochs: int = 2, validated: bool = True, low: float = 0.5) -> Run:
    """Losses that fall from 2 to `low`, and accuracies that rise by as much."""
    at = np.arange(1, steps + 1) / steps
    losses = low + (2 - low) * np.exp(-9 * at)
    taken = [Step(step=i + 1, epoch=epochs * at[i], loss=loss, accuracy=1 - loss / 2) for i, loss in enumerate(losses)]
    done = [
        Epoch(
            epoch=i, validation_loss=low + 1 / i if validated else None, validation_accuracy=0.4 if validated else None
        )
        for i in range(1, epochs + 1)
    ]
    return Run(tuple(taken), tuple(done))


def test_the_running_mean_by_hand():
    assert running_mean(np.array([1.0, 2, 3, 4, 8]), 3).tolist() == [1, 1.5, 2, 3, 5]
    assert running_mean(np.array([1.0, 2, 3]), 1).tolist() == [1, 2, 3]
    assert running_mean(np.array([]), 3).tolist() == []


def test_each_run_has_its_steps_their_mean_and_its_validation_in_its_color():
    runs = {"one": run(200), "other": run(100, low=0.7)}
    with laid_out(draw, runs) as figure:
        for axes, name in zip(figure.axes, ("loss", "accuracy")):
            assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", name)
            lines = axes.get_lines()
            assert [line.get_color() for line in lines] == ["C0"] * 3 + ["C1"] * 3
            for (raw, mean, validation), own in zip((lines[:3], lines[3:]), runs.values()):
                values = np.array([getattr(step, name) for step in own.steps])
                assert raw.get_xdata().tolist() == mean.get_xdata().tolist() == [step.epoch for step in own.steps]
                assert raw.get_ydata().tolist() == values.tolist()
                assert mean.get_ydata() == pytest.approx(running_mean(values, 200 // 50))
                assert validation.get_xdata().tolist() == [1, 2]
                assert validation.get_ydata().tolist() == [getattr(e, f"validation_{name}") for e in own.epochs]
        assert {line.get_marker() for line in figure.axes[0].get_lines()} == {"None", "o", "s"}


def test_the_legends_name_each_run_and_each_kind_of_line_once():
    with laid_out(draw, {"one": run(200), "_other $x$": run(200)}) as figure:
        above, below = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert above == ["one", "_other $x$"]
    assert below == ["training, each step", "training, mean of 4 steps", "validation, after each epoch"]


def test_few_steps_are_drawn_as_they_are_and_no_line_stands_for_what_is_missing():
    with laid_out(draw, {"one": run(20, validated=False)}) as figure:
        assert [len(axes.get_lines()) for axes in figure.axes] == [1, 1]
        assert [text.get_text() for text in figure.legends[1].get_texts()] == ["training, each step"]


def test_the_axes_leave_room_for_what_comes_after_the_beginning():
    """The loss starts at 2; after a twentieth of 1000 steps it is 0.5 + 1.5 * exp(-0.45) = 1.456."""
    with laid_out(draw, {"one": run(1000, epochs=4)}) as figure:
        low, high = figure.axes[0].get_ylim()
    assert low < 0.5
    assert 1.4 < high < 1.6


def test_a_run_that_diverged_is_drawn_as_far_as_it_has_numbers():
    whole = run(100)
    broken = Step(step=101, epoch=2.1, loss=float("inf"), accuracy=0.1)
    after = Epoch(epoch=3, validation_loss=float("nan"), validation_accuracy=0.1)
    with laid_out(draw, {"one": Run((*whole.steps, broken), (*whole.epochs, after))}) as figure:
        raw, mean, validation = figure.axes[0].get_lines()
        assert [len(line.get_xdata()) for line in (raw, mean, validation)] == [100, 100, 2]
        assert [len(line.get_xdata()) for line in figure.axes[1].get_lines()] == [101, 101, 3]


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_has_its_room(count, theme):
    runs = {f"densenet40_k12_bc-{i}": run(150) for i in range(count)}
    with laid_out(draw, runs, theme=theme) as figure:
        check_room(figure)
        assert {"epoch", "loss", "accuracy", *runs} <= set(texts(figure))


def test_a_long_name_is_shortened():
    with laid_out(draw, {"x" * 200: run(150)}) as figure:
        check_room(figure)


def test_what_has_no_room_is_noticed(monkeypatch):
    """The control of the two before."""
    monkeypatch.setattr("densenet_tools.figures.curves.LONGEST", 200)
    with laid_out(draw, {"x" * 200: run(150)}) as figure, pytest.raises(AssertionError):
        check_room(figure)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_curves_are_a_file(kind):
    assert len(curves({"one": run(100)}, kind, "dark")) > 5000
