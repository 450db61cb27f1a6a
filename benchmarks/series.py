"""What a file of results says of each engine: its points, and how they grow."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.arithmetic import quartiles

Series = tuple[Sequence[float], Sequence[float]]


def axis(figures: Mapping[str, Any], kind: str) -> list[int]:
    """How many images, or of what size, at each point."""
    return [point[("batch", "size").index(kind)] for point in figures["points"]]


def inference_series(figures: Mapping[str, Any], kind: str) -> dict[str, Series]:
    """{engine: (images or size, median seconds)} of those that have all points."""
    return {
        name: (axis(figures, kind), [quartiles(point["seconds"])[1] for point in each["points"]])
        for name, each in measured(figures)
        if len(each["points"]) == len(figures["points"])
    }


def training_series(depths: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """{engine: (layers, median seconds, bytes)} of those that have all depths."""
    names = [name for name in depths[0]["engines"] if all(name in dict(measured(each)) for each in depths)]
    found = {}
    for name in names:
        points = [each["engines"][name]["points"][0] for each in depths]
        medians = [quartiles(point["seconds"])[1] for point in points]
        found[name] = [each["layers"] for each in depths], medians, [point["memory"] for point in points]
    return found


def measured(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each engine that has figures; one that was lost on the way has those of before."""
    for name, each in figures["engines"].items():
        points = [point for point in each["points"] if point["seconds"]]
        if points:
            yield name, {**each, "points": points}
