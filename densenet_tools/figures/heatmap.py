"""The feature-reuse map, as figure 5 of the DenseNet paper draws it."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from densenet_tools.figures.canvas import WIDTH, Colors, Theme, canvas, saved, themed
from densenet_tools.reuse import BlockReuse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
TALLEST = 3.2  # inches, of a row of panels
NUMBERED = 8  # layers along a side, at the most


def heatmap(blocks: Sequence[BlockReuse], rescaled: bool, kind: str, theme: Theme = "light") -> bytes:
    """One panel for each block, rescaled to a largest value of 1 or as the weights are; `kind` is png, svg or pdf."""
    with themed(theme) as colors:
        return saved(draw(blocks, rescaled, colors), kind)


def draw(blocks: Sequence[BlockReuse], rescaled: bool, colors: Colors) -> "Figure":
    """Targets from left to right, sources from top to bottom; all panels have the same colors."""
    values = [block.rescaled if rescaled else block.values for block in blocks]
    rows = ceil(len(blocks) / COLUMNS)
    columns = ceil(len(blocks) / rows)
    figure = canvas(WIDTH, rows * min(WIDTH / columns, TALLEST) + 0.4)
    panels = figure.subplots(rows, columns, squeeze=False)
    largest = max(np.nanmax(value) for value in values)
    for axes, block, value in zip(panels.flat, blocks, values):
        image = axes.imshow(value, cmap="viridis", vmin=0, vmax=largest, interpolation="none", aspect="auto")
        _label(axes, block, colors)
    for axes in panels.flat[len(blocks) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=panels, label="mean |w|, over the block's largest" if rescaled else "mean |w|")
    figure.supxlabel("target layer; framed: what reads the whole block", fontsize=10)
    figure.supylabel("source layer; 0: the block's input", fontsize=10)
    return figure


def _label(axes: Any, block: BlockReuse, colors: Colors) -> None:
    """Numbers the layers, and puts what reads the whole block, if anything does, in a frame."""
    from matplotlib.patches import Rectangle

    layers = len(block.sources) - 1
    apart = next(n for n in (1, 2, 5, 10, 20, 50, layers) if layers / n <= NUMBERED)
    numbers = range(apart, layers + 1, apart)
    axes.set_title(block.name.rpartition(".")[2], fontsize=10, parse_math=False)
    axes.set_xticks([number - 1 for number in numbers], map(str, numbers))
    axes.set_yticks([0, *numbers], map(str, [0, *numbers]))
    if len(block.targets) > layers:
        frame = (layers - 0.5, -0.5), 1, layers + 1
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor=colors.text, linewidth=1.5, clip_on=False, zorder=3))
        beside = {"xycoords": "axes fraction", "xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(block.targets[-1], (1, 0.5), **beside, rotation=90, fontsize=8, parse_math=False)
