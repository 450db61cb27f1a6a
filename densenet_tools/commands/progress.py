"""A sign of life for who waits at a terminal; nothing where stderr is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from densenet_tools.commands.text import printable

NARROW = 10  # columns of a bar beside much else


@contextmanager
def bar(name: str, done: int, of: int) -> Iterator[None]:
    """Shows that `name` is worked on, after `done` of `of`; gone again before anything else is printed."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    there = sys.stderr.isatty()
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False, disable=not there
    ) as progress:
        progress.add_task(escape(printable(name)), total=of, completed=done)
        yield


@dataclass(frozen=True)
class Bar:
    """A bar that is under way."""

    progress: Progress
    task: TaskID

    def update(self, done: int, text: str) -> None:
        """So many are done, and what else there is to say."""
        self.progress.update(self.task, completed=done, description=text)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.progress.update(self.task, advance=count)

    def print(self, line: str) -> None:
        """A line on stdout, above the bar where both are on one terminal."""
        if not self.progress.disable:
            self.progress.stop()
        print(line, flush=True)
        if not self.progress.disable:
            self.progress.start()


@contextmanager
def steps(done: int, of: int, text: str = "") -> Iterator[Bar]:
    """Shows how many of many steps are done, and how long the rest will take.

    In 80 columns a line has room for the ^C that a terminal puts behind it: beyond the edge, it could not be removed.
    """
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=NARROW),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    there = sys.stderr.isatty()
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not there,
    ) as progress:
        yield Bar(progress, progress.add_task(text, total=of, completed=done))
