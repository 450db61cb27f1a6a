"""What tests of figures share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from densenet_tools.figures.canvas import themed

pytest.importorskip("matplotlib")


@contextmanager
def laid_out(draw: Any, *arguments: Any, theme: Any = "light") -> Iterator[Any]:
    """The figure that `draw` makes of the arguments and a theme's colors, with everything in its place."""
    with themed(theme) as colors:
        figure = draw(*arguments, colors)
        figure.draw_without_rendering()
        yield figure


def texts(figure: Any) -> list[str]:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def check_room(figure: Any) -> None:
    """Nothing is cut off at the figure's edge, and no legend lies over its plots."""
    inside = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(inside.x0, inside.y0) >= 0
    assert inside.x1 <= width
    assert inside.y1 <= height
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not [axes for axes in figure.axes if axes.get_window_extent().overlaps(box)]
