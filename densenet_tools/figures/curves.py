"""Loss and accuracy of training runs, against epochs."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet_tools.figures.canvas import MARKERS, WIDTH, Colors, Theme, canvas, look, saved, shortened, themed
from densenet_tools.figures.logs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Look = dict[str, Any]  # of a line, as matplotlib takes it
WINDOWS = 50  # of the running mean, side by side, that the longest run has room for
BEGINNING = 20  # a run's first steps, one in so many, are left out of what the axes span
LINE = 90  # letters in a row of the legend
LONGEST = 80  # letters of a run's name in it
FAINT: Look = {"linewidth": 0.5, "alpha": 0.2}
SMOOTH: Look = {"linewidth": 1.2}
VALIDATION: Look = {
    "linewidth": 1.2,
    "linestyle": "--",
    "markersize": 6,
    "markeredgewidth": 1.4,
    "markerfacecolor": "none",
}


def curves(runs: Mapping[str, Run], kind: str, theme: Theme = "light") -> bytes:
    """{name: run}, each in a color of its own; `kind` is png, svg or pdf."""
    with themed(theme) as colors:
        return saved(draw(runs, colors), kind)


def draw(runs: Mapping[str, Run], colors: Colors) -> "Figure":
    """Loss beside accuracy: each step faintly, their running mean, and what validation found after each epoch."""
    names = [shortened(name, LONGEST) for name in runs]
    columns = max(1, LINE // (6 + max(map(len, names))))
    figure = canvas(WIDTH, 3.8 + 0.2 * ceil(len(runs) / columns))
    window = max(1, max(len(run.steps) for run in runs.values()) // WINDOWS)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for i, run in enumerate(runs.values()):
            _draw_run(axes, run, name, window, look(i))
        axes.set(xlabel="epoch", ylabel=name, ylim=_span(runs.values(), name) if window > 1 else None)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
    _name_runs(figure, names, columns)
    _name_lines(figure, runs.values(), window, colors.text)
    return figure


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each value and those before it, `window` in all, or as many as there are."""
    sums = np.concatenate([[0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _draw_run(axes: Any, run: Run, name: str, window: int, own: Look) -> None:
    taken, validated = _taken(run, name), _validated(run, name)
    at, values = list(taken), np.array(list(taken.values()))
    if window > 1:
        axes.plot(at, values, color=own["color"], **FAINT, rasterized=True)
    axes.plot(at, running_mean(values, window), color=own["color"], **SMOOTH)
    if validated:
        axes.plot(list(validated), list(validated.values()), **own, **VALIDATION)


def _taken(run: Run, name: str) -> dict[float, float]:
    """{epochs done: what a step found}, where that is finite: a run that diverged ends with what is not."""
    found = {step.epoch: getattr(step, name) for step in run.steps}
    return {epoch: value for epoch, value in found.items() if isfinite(value)}


def _validated(run: Run, name: str) -> dict[int, float]:
    """{epoch: what was found after it} on the images held back."""
    found = {epoch.epoch: getattr(epoch, f"validation_{name}") for epoch in run.epochs}
    return {epoch: value for epoch, value in found.items() if value is not None and isfinite(value)}


def _span(runs: Iterable[Run], name: str) -> tuple[float, float]:
    """Where an axis begins and ends: a beginning of training far from its end would leave no room for differences."""
    shown: list[float] = []
    for run in runs:
        taken = list(_taken(run, name).values())
        later = taken[len(taken) // BEGINNING :]
        shown += [*(np.percentile(later, [1, 99]) if later else []), *_validated(run, name).values()]
    low, high = min(shown), max(shown)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _name_runs(figure: "Figure", names: Sequence[str], columns: int) -> None:
    """The legend above the plots: each run once."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **look(i), **VALIDATION | {"linestyle": "-"}) for i in range(len(names))]
    legend = figure.legend(lines, names, loc="outside upper center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a folder's name may have dollar signs


def _name_lines(figure: "Figure", runs: Iterable[Run], window: int, ink: str) -> None:
    """The legend below them: each kind of line once, in the color of text."""
    from matplotlib.lines import Line2D

    kinds: dict[str, Look] = {"training, each step": FAINT | {"alpha": 0.6} if window > 1 else SMOOTH}
    if window > 1:
        kinds[f"training, mean of {window} steps"] = SMOOTH
    if any(_validated(run, "loss") for run in runs):
        kinds["validation, after each epoch"] = VALIDATION | {"marker": MARKERS[0]}
    lines = [Line2D([], [], color=ink, **kind) for kind in kinds.values()]
    figure.legend(lines, list(kinds), loc="outside lower center", ncols=len(kinds), frameon=False)
