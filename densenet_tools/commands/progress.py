"""A sign of life for who waits at a terminal; nothing where stderr is none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def bar(name: str, done: int, of: int) -> Iterator[None]:
    """Shows that `name` is worked on, after `done` of `of`; gone again before anything else is printed."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    there = sys.stderr.isatty()
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False, disable=not there
    ) as progress:
        progress.add_task(escape(name), total=of, completed=done)
        yield
