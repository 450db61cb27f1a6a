"""How cost grows, as a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.arithmetic import exponent
from benchmarks.sections import MIB
from benchmarks.series import inference_series, training_series
from densenet_tools.figures.canvas import WIDTH, Theme, canvas, look, saved, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def growth(figures: Mapping[str, Any], theme: Theme) -> bytes:
    """Four panels, a png."""
    with themed(theme):
        return saved(draw(figures), "png")


def draw(figures: Mapping[str, Any]) -> "Figure":
    """Logarithmic on both axes, where a power is a straight line; its exponent beside each name."""
    figure = canvas(WIDTH, 7)
    trained = training_series(figures["depth"])
    pixels = figures["batch"]["points"][0][1]
    images, _ = figures["depth"][0]["points"][0]
    deeper = f"layers, a training step with {images} images"
    panels = [
        Panel(inference_series(figures["batch"], "batch"), f"images of {pixels} pixels", "ms", 1e3),
        Panel(inference_series(figures["size"], "size"), "pixels along a side, one image", "ms", 1e3),
        Panel({name: (layers, times) for name, (layers, times, _) in trained.items()}, deeper, "ms", 1e3),
        Panel({name: (layers, sizes) for name, (layers, _, sizes) in trained.items()}, deeper, "MiB", 1 / MIB),
    ]
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))  # one look each, in all panels
    for axes, panel in zip(figure.subplots(2, 2).flat, panels):
        _draw(axes, panel, names)
    return figure


class Panel(NamedTuple):
    """{engine: (at, costs)}, and what its axes are; costs are multiplied by `scale`."""

    series: Mapping[str, Any]
    across: str
    unit: str
    scale: float


def _draw(axes: Any, panel: Panel, names: Sequence[str]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    for name, (at, costs) in panel.series.items():
        label, scaled = f"{name}: {exponent(at, costs):.2f}", [cost * panel.scale for cost in costs]
        axes.plot(at, scaled, **look(names.index(name)), label=label, markersize=5, linewidth=1.2)
        axes.set(xscale="log", yscale="log", xticks=at)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for line in (axes.xaxis, axes.yaxis):
        line.set_major_formatter(ScalarFormatter())
        line.set_minor_formatter(NullFormatter())
    axes.set_xlabel(panel.across)
    axes.set_ylabel(panel.unit)
    axes.grid(which="both", alpha=0.3)
    axes.legend(fontsize=8)
