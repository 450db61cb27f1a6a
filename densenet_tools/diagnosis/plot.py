"""How far a model is from the network after each layer, as SVG that needs no library; the page has its style."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor, inf, isfinite, log10

from densenet_tools.diagnosis.explaining import TOLERANCES
from densenet_tools.diagnosis.findings import TRAINING, Finding
from densenet_tools.diagnosis.markup import escaped
from densenet_tools.diagnosis.report import grouped
from densenet_tools.diagnosis.verdict import Diagnosis

WIDTH, HEIGHT = 960, 260  # of the picture, and of what the axes span, in pixels
LEFT, RIGHT, BELOW = 64, 16, 48  # beside and below the axes, whose upper end is at 0
ROW = 18  # height of a row of labels, which stand above the axes
LETTER = 6.6  # width of a letter, rather too much: fonts differ
LETTERS = 40  # of a layer's name in a label
LABELS = 12  # of the first groups; the others have marks alone
TICKS = 8  # of the vertical axis, hardly more
DISC, DIAMOND = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M0-7 7 0 0 7-7 0z"
Point = tuple[float, float]
Groups = Sequence[Sequence[Finding]]


@dataclass(frozen=True)
class Axes:
    """Layers have a place each, from left to right; `ticks` are {decade: what is written there}.

    A difference of zero is at the lowest tick, one that is no number at the highest: they have no logarithm.
    """

    layers: int
    ticks: dict[int, str]

    def x(self, place: float) -> float:
        """The middle of a layer's place, which begins half a place before it."""
        return LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / self.layers

    def y(self, relative: float) -> float:
        if relative == 0:
            return self.height(min(self.ticks))
        return self.height(log10(relative) if isfinite(relative) else max(self.ticks))

    def height(self, decade: float) -> float:
        return HEIGHT * (max(self.ticks) - decade) / (max(self.ticks) - min(self.ticks))


@dataclass(frozen=True)
class Label:
    """What is written above the axes, from `x` on, of the layer at a place; row 0 is the lowest."""

    text: str
    place: int
    x: float
    row: int

    @property
    def y(self) -> int:
        return -ROW * (self.row + 1)


def svg(found: Diagnosis) -> str:
    """A dot for each layer; larger marks at findings, of which the first of each group is labelled with its number."""
    names = [name for name, _ in found.layers]
    axes = Axes(len(names), _ticks(found))
    groups = grouped([each for each in found.findings if each.where not in TRAINING])
    points = [(axes.x(place), axes.y(relative)) for place, (_, relative) in enumerate(found.layers)]
    labels = _labels(groups[:LABELS], names, axes)
    drawn = [
        *_scale(axes),
        *_stages(axes, names),
        *_tolerance(axes, TOLERANCES[found.dtype]),
        *(_leader(label, points[label.place]) for label in labels),
        *_curve(found.layers, points),
        *_marks(groups, names, points),
        *(f'<text x="{label.x:.1f}" y="{label.y}">{escaped(label.text)}</text>' for label in labels),
    ]
    above = ROW * (2 + max((label.row for label in labels), default=0))
    box = f"0 {-above} {WIDTH} {above + HEIGHT + BELOW}"
    return f'<svg class="plot" viewBox="{box}" role="img" aria-label="difference against depth">{"".join(drawn)}</svg>'


def mark(explained: bool, x: float, y: float, title: str) -> str:
    """A disc where a cause explains a finding, else a diamond; the title is shown to who points at it."""
    kind, outline = ("explained", DISC) if explained else ("unexplained", DIAMOND)
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="{kind}" d="{outline}" {place}><title>{escaped(title)}</title></path>'


def _ticks(found: Diagnosis) -> dict[int, str]:
    """Decades from below the least of what is shown to above the largest; zero and infinity only where they are."""
    shown = [*(relative for _, relative in found.layers), TOLERANCES[found.dtype]]
    logarithms = [log10(relative) for relative in shown if 0 < relative < inf]
    low, high = floor(min(logarithms)), floor(max(logarithms)) + 1
    step = ceil((high - low) / TICKS)
    ticks = {decade: f"1e{decade:+03}" for decade in range(low, high + step, step)}
    if 0 in shown:
        ticks[low - step] = "0"
    if not all(map(isfinite, shown)):
        ticks[max(ticks) + step] = "∞"
    return ticks


def _scale(axes: Axes) -> Iterator[str]:
    for decade, text in axes.ticks.items():
        y = axes.height(decade)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{text}</text>'
    middle = (LEFT + WIDTH - RIGHT) // 2
    yield f'<text class="middle" x="{middle}" y="{HEIGHT + 40}">layer, in the order of the network</text>'
    yield f'<text class="middle" transform="translate(14 {HEIGHT // 2}) rotate(-90)">relative difference</text>'


def _stages(axes: Axes, names: Sequence[str]) -> Iterator[str]:
    """Where each dense block and its like begins, by the first two parts of names; written where there is room."""
    begin = 0
    for stage, layers in groupby(names, key=lambda name: name.split(".")[:2]):
        end = begin + len(list(layers))
        yield f'<path class="grid" d="M{axes.x(begin - 0.5):.1f} 0V{HEIGHT + 5}"/>'
        if axes.x(end) - axes.x(begin) > LETTER * len(stage[-1]):
            middle = axes.x((begin + end - 1) / 2)
            yield f'<text class="middle" x="{middle:.1f}" y="{HEIGHT + 18}">{escaped(stage[-1])}</text>'
        begin = end


def _tolerance(axes: Axes, tolerance: float) -> Iterator[str]:
    y, end = axes.y(tolerance), WIDTH - RIGHT
    yield f'<path class="tolerance" d="M{LEFT} {y:.1f}H{end}"/>'
    yield f'<text class="end" x="{end - 4}" y="{y - 5:.1f}">tolerance {tolerance:.0e}</text>'


def _curve(layers: Sequence[tuple[str, float]], points: Sequence[Point]) -> Iterator[str]:
    yield f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
    for (x, y), (name, relative) in zip(points, layers):
        title = f"<title>{escaped(name)}: {relative:.1e}</title>"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2">{title}</circle>'


def _marks(groups: Groups, names: Sequence[str], points: Sequence[Point]) -> Iterator[str]:
    for number, group in enumerate(groups, start=1):
        for each in group:
            if (place := _place(each.layer, names)) is not None:
                yield mark(bool(each.causes), *points[place], f"{number} {each.layer}")


def _labels(groups: Groups, names: Sequence[str], axes: Axes) -> list[Label]:
    """From right to left, each in the lowest row that has room before the labels and leaders that are there."""
    placed = [
        (place, _text(number, group))
        for number, group in enumerate(groups, start=1)
        if (place := _place(group[0].layer, names)) is not None
    ]
    labels, ends = [], list[float]()  # ends: of the room that each row has
    for place, text in sorted(placed, reverse=True):
        width = LETTER * len(text)
        x = min(axes.x(place), WIDTH - RIGHT - width)
        row = next((row for row, end in enumerate(ends) if x + width < end), len(ends))
        ends[: row + 1] = [*(min(end, axes.x(place)) for end in ends[:row]), x]
        labels.append(Label(text, place, x, row))
    return labels


def _text(number: int, group: Sequence[Finding]) -> str:
    name, more = group[0].layer, len(group) - 1
    name = name if len(name) <= LETTERS else "…" + name[1 - LETTERS :]
    return f"{number} {name}" + (f" and {more} more" if more else "")


def _place(layer: str, names: Sequence[str]) -> int | None:
    """The layer's own, or that of the last layer inside it, as a dense layer has some; None where it is not shown."""
    places = [place for place, name in enumerate(names) if name == layer or name.startswith(f"{layer}.")]
    return places[-1] if places else None


def _leader(label: Label, point: Point) -> str:
    x, y = point
    return f'<path class="leader" d="M{x:.1f} {label.y + 5}V{y:.1f}"/>'
