"""How cost grows, as a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    batch, size, seconds, memory = figure.subplots(2, 2).flat
    trained = training_series(figures["depth"])
    pixels = figures["batch"]["points"][0][1]
    images, _ = figures["depth"][0]["points"][0]
    _panel(batch, inference_series(figures["batch"], "batch"), f"images of {pixels} pixels", "ms", 1e3)
    _panel(size, inference_series(figures["size"], "size"), "pixels along a side, one image", "ms", 1e3)
    times = {name: (layers, times) for name, (layers, times, _) in trained.items()}
    _panel(seconds, times, f"layers, a training step with {images} images", "ms", 1e3)
    sizes = {name: (layers, sizes) for name, (layers, _, sizes) in trained.items()}
    _panel(memory, sizes, f"layers, a training step with {images} images", "MiB", 1 / MIB)
    return figure


def _panel(axes: Any, series: Mapping[str, Any], across: str, unit: str, scale: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    for i, (name, (at, costs)) in enumerate(series.items()):
        label = f"{name}: {exponent(at, costs):.2f}"
        axes.plot(at, [cost * scale for cost in costs], **look(i), label=label, markersize=5, linewidth=1.2)
        axes.set(xscale="log", yscale="log", xticks=at)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for line in (axes.xaxis, axes.yaxis):
        line.set_major_formatter(ScalarFormatter())
        line.set_minor_formatter(NullFormatter())
    axes.set_xlabel(across)
    axes.set_ylabel(unit)
    axes.grid(which="both", alpha=0.3)
    axes.legend(fontsize=8)
