"""Pictures, drawn by matplotlib into a file."""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import spec
from densenet_tools.costs import Cost

SUFFIXES = (".png", ".svg", ".pdf")
MARKERS = "os^Dv<>PX"  # as many that with ten colors none of ninety looks like another


def check(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raises SpecError unless a picture, or a page with pictures, of that name can be drawn."""
    if path.suffix not in suffixes:
        raise spec.SpecError(f"{path} must end in {' or '.join(suffixes)}")
    if find_spec("matplotlib") is None:
        raise spec.SpecError("plots need matplotlib, which is not installed: pip install 'densenet-reference[plot]'")


def parameters_against_multiply_adds(costs: Sequence[Cost], title: str, kind: str) -> bytes:
    """One dot for each network, both axes logarithmic; `kind` is png, svg or pdf."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no window, whatever the user's settings
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, cost in enumerate(costs):
        color, marker = f"C{i % 10}", MARKERS[i % len(MARKERS)]
        axes.scatter(
            cost.multiply_adds, cost.parameters, color=color, marker=marker, s=60, alpha=0.8, label=cost.network
        )
    figure.legend(loc="outside right upper")
    axes.set(xscale="log", yscale="log", title=title)
    axes.set_xlabel("multiply-adds of convolutions and linear layers, one image")
    axes.set_ylabel("parameters")
    axes.grid(which="both", alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format=kind)
    return file.getvalue()
