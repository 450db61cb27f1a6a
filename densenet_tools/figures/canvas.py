"""What all figures share: whether one can be drawn, its colors, and how it becomes a file."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
MARKERS = "os^Dv<>PX"
WIDTH = 8.3  # inches: as wide as a README shows a picture, at 100 pixels an inch
MARGIN = 0.1  # inches around each part: with less of it, matplotlib's layout cuts off labels
MISSING = r"Glyph \d+ .* missing from"  # what matplotlib says of each such letter
Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Colors:
    """A theme's: of what is behind, of text and lines, of the grid; of one thing after another; of small and large."""

    background: str
    text: str
    grid: str
    cycle: tuple[str, ...]
    shares: tuple[str, ...]  # from 0, which is hardly seen, to 1
    wrong: str


THEMES: dict[str, Colors] = {
    "light": Colors(
        background="#ffffff",
        text="#1f2328",
        grid="#d1d9e0",
        cycle=(
            "#0969da",
            "#d1570b",
            "#1a7f37",
            "#8250df",
            "#bf3989",
            "#7d6608",
            "#0e7c86",
            "#82071e",
            "#57606a",
            "#5c4033",
        ),
        shares=("#f6f8fa", "#9ecbf5", "#0969da", "#0a3069"),
        wrong="#cf222e",
    ),
    "dark": Colors(
        background="#0d1117",
        text="#e6edf3",
        grid="#3d444d",
        cycle=(
            "#58a6ff",
            "#f0883e",
            "#56d364",
            "#bc8cff",
            "#f778ba",
            "#e3b341",
            "#39c5cf",
            "#ff7b72",
            "#b1bac4",
            "#d2a679",
        ),
        shares=("#161b22", "#1f4f8f", "#58a6ff", "#d6ebff"),
        wrong="#ff7b72",
    ),
}


def check(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raises SpecError unless a picture, or a page with pictures, of that name can be drawn."""
    if path.suffix not in suffixes:
        raise spec.SpecError(f"{path} must end in {' or '.join(suffixes)}")
    if find_spec("matplotlib") is None:
        raise spec.SpecError("plots need matplotlib, which is not installed: pip install 'densenet-reference[plot]'")


@contextmanager
def themed(theme: Theme) -> Iterator[Colors]:
    """The theme's colors, which are matplotlib's own in the meantime, whatever the user's settings.

    A figure is drawn and saved inside: matplotlib makes the last of its ticks only then.
    """
    from matplotlib import style
    from matplotlib.rcsetup import cycler

    colors = THEMES[theme]
    settings = {
        "figure.facecolor": colors.background,
        "axes.facecolor": colors.background,
        "legend.facecolor": colors.background,
        "axes.edgecolor": colors.grid,
        "legend.edgecolor": colors.grid,
        "grid.color": colors.grid,
        "text.color": colors.text,
        "axes.labelcolor": colors.text,
        "xtick.color": colors.text,
        "ytick.color": colors.text,
        "axes.prop_cycle": cycler(color=colors.cycle),
        "axes.axisbelow": True,
        "savefig.dpi": 200,
        "svg.hashsalt": "densenet",  # else ids are drawn at random, and no two files are alike
    }
    with style.context(["default", settings]):
        yield colors


def canvas(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, which no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN))
    FigureCanvasAgg(figure)
    return figure


def look(i: int) -> dict[str, Any]:
    """Color and marker of one thing after another: ten and nine, so that none of ninety looks like another."""
    return {"color": f"C{i % 10}", "marker": MARKERS[i % len(MARKERS)]}


def saved(figure: "Figure", kind: str) -> bytes:
    """The figure as a png, svg or pdf, the same bytes each time; a SpecWarning says so where letters are missing."""
    dates: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", MISSING)
        figure.savefig(file, format=kind, metadata=dates.get(kind))
    if any(re.match(MISSING, str(warning.message)) for warning in said):
        sentence = "the font of figures lacks some letters of these names: boxes stand for them"
        warnings.warn(sentence, spec.SpecWarning, stacklevel=3)
    return file.getvalue()


def shortened(name: str, letters: int) -> str:
    """A name that is longer than there is room for, without its end."""
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"
