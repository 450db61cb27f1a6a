"""Terminal tables of what an evaluation finds."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from rich.table import Table

from densenet_tools.commands.tables import new_table
from densenet_tools.metrics import Metrics

WIDEST = 20  # classes of a confusion matrix that a terminal has room for
WORST = 20  # rows of the table that takes its place beyond


def metrics_table(title: str, metrics: Metrics, classes: Sequence[str]) -> Table:
    """One row for each class, and one for their means; loss, accuracy and top-5 are below the title.

    A "-" stands where nothing was counted that a share could be of; the means leave it out.
    """
    made = _titled(f"{title}\n{summary(metrics)}", "class", "images:", "precision:", "recall:")
    for name, count, precision, recall in zip(classes, metrics.support, metrics.precision, metrics.recall, strict=True):
        made.add_row(name, f"{count:,}", _share(precision), _share(recall))
    made.add_section()
    made.add_row("mean", f"{metrics.count:,}", _share(_mean(metrics.precision)), _share(_mean(metrics.recall)))
    return made


def summary(metrics: Metrics) -> str:
    """`loss 0.2312  accuracy 0.9187  top-5 0.9980  10,000 images`, without the top-5 where there is none."""
    top5 = "" if metrics.top5 is None else f"  top-5 {metrics.top5:.4f}"
    return f"loss {metrics.loss:.4f}  accuracy {metrics.accuracy:.4f}{top5}  {metrics.count:,} images"


def confusion_table(title: str, metrics: Metrics, classes: Sequence[str]) -> Table:
    """One row for each class, one column for each that its images were taken for, numbered alike.

    Of more classes than a terminal has room for, the mistakes that were made most often.
    """
    if len(classes) > WIDEST:
        return _mistakes_table(title, metrics, classes)
    made = _titled(f"{title}\nrows true, columns predicted", "class", *(f"{i}:" for i in range(len(classes))))
    for i, (name, row) in enumerate(zip(classes, metrics.confusion, strict=True)):
        made.add_row(f"{i} {name}", *(f"{count:,}" if count else "" for count in row))
    return made


def _mistakes_table(title: str, metrics: Metrics, classes: Sequence[str]) -> Table:
    mistakes = sorted(_mistakes(metrics), reverse=True)[:WORST]
    made = _titled(f"{title}\nthe most frequent mistakes", "class", "taken for", "images:", "share:")
    for count, i, j in mistakes:
        made.add_row(classes[i], classes[j], f"{count:,}", _share(count / metrics.support[i]))
    return made


def _mistakes(metrics: Metrics) -> Iterator[tuple[int, int, int]]:
    """(images, class, class that they were taken for)."""
    for i, row in enumerate(metrics.confusion):
        yield from ((count, i, j) for j, count in enumerate(row) if count and i != j)


def _titled(title: str, *columns: str) -> Table:
    """A table at least as wide as its title, which would be wrapped."""
    made = new_table(*columns, title=title)
    made.min_width = max(map(len, title.splitlines()))
    return made


def _mean(shares: Sequence[float | None]) -> float | None:
    there = [share for share in shares if share is not None]
    return fmean(there) if there else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
