"""What networks cost, as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from densenet_tools.costs import Cost
from densenet_tools.figures.canvas import WIDTH, Theme, canvas, look, saved, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parameters_against_multiply_adds(costs: Sequence[Cost], title: str, kind: str, theme: Theme = "light") -> bytes:
    """One dot for each network; `kind` is png, svg or pdf."""
    with themed(theme):
        return saved(draw(costs, title), kind)


def draw(costs: Sequence[Cost], title: str) -> "Figure":
    """Both axes are logarithmic."""
    figure = canvas(WIDTH, 5)
    axes = figure.subplots()
    for i, cost in enumerate(costs):
        axes.scatter(cost.multiply_adds, cost.parameters, **look(i), s=60, alpha=0.8, label=cost.network)
    figure.legend(loc="outside right upper")
    axes.set(xscale="log", yscale="log", title=title)
    axes.set_xlabel("multiply-adds of convolutions and linear layers, one image")
    axes.set_ylabel("parameters")
    axes.grid(which="both", alpha=0.3)
    return figure
