"""Which classes a network takes for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet_tools.figures.canvas import WIDTH, Colors, Theme, canvas, saved, shortened, themed
from densenet_tools.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNTED = 20  # classes whose cells have room for a number
NAMED = 50  # classes whose names have room beside each other
LETTERS = 20  # of a name


def confusion(metrics: Metrics, classes: Sequence[str], kind: str, theme: Theme = "light") -> bytes:
    """A row for each class, a column for each that its images were taken for; `kind` is png, svg or pdf."""
    with themed(theme) as colors:
        return saved(draw(metrics, classes, colors), kind)


def draw(metrics: Metrics, classes: Sequence[str], colors: Colors) -> "Figure":
    """Colors are shares of a row's images, by their square root: mistakes are few. Cells have counts while they fit."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = canvas(WIDTH, 0.85 * WIDTH)
    axes = figure.subplots()
    shade = LinearSegmentedColormap.from_list("shares", colors.shares)
    image = axes.imshow(shares, cmap=shade, norm=PowerNorm(0.5, 0, 1), interpolation="none")
    figure.colorbar(image, label="share of the images of the true class", ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= NAMED:
        names, size = [shortened(name, LETTERS) for name in classes], 9 if len(classes) <= COUNTED else 6
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.tick_params(labelsize=size, length=0)
    if len(classes) <= COUNTED:
        _add_counts(axes, counts, shares, colors)
    return figure


def _add_counts(axes: Any, counts: np.ndarray, shares: np.ndarray, colors: Colors) -> None:
    for (i, j), count in np.ndenumerate(counts):
        ink = colors.background if shares[i, j] > 0.3 else colors.text
        if count:
            axes.text(j, i, f"{count}", ha="center", va="center", color=ink, fontsize=9 if len(counts) <= 12 else 6)
