"""Terminal tables."""

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import spec
from densenet_tools.costs import Cost
from densenet_tools.inspection import Observed
from densenet_tools.memory import readable
from densenet_tools.parity import Verdict
from spec.shapes import by

WIDE = 160  # columns, where output goes to a file or a pipe


class Terminal(Console):
    """Rich's console, which ends in 1 where nobody reads its output: that is "does not agree" here."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(table: Table) -> None:
    """Prints a table as wide as the terminal, or in full where output is no terminal."""
    Terminal(width=None if sys.stdout.isatty() else WIDE, markup=False).print(table)


def variants_table(names: Sequence[str]) -> Table:
    """One row for each variant at its published input size."""
    table = new_table("variant", "input", "parameters:", "buffers:", "multiply-adds:", "published error", "source")
    for name in names:
        network = spec.variant(name)
        total = spec.total(network)
        published = spec.published(name)
        errors = [f"{entry.error:.2f} {entry.task}" for entry in published if entry.error is not None]
        table.add_row(
            name,
            by(network.input_shape),
            f"{total.parameters:,}",
            f"{total.buffers:,}",
            f"{total.multiply_adds:,}",
            ", ".join(errors) or "-",
            published[0].source,
        )
    return table


def layers_table(title: str, rows: Sequence[spec.Figures], observed: dict[str, Observed] | None) -> Table:
    """One row for each layer; output shapes and parameters are the backend's where it was observed."""
    table = new_table("layer", "kind", "output", "parameters:", "multiply-adds:", "activations:", title=title)
    for row in rows:
        seen = (observed or {}).get(row.path, row)
        table.add_row(
            row.path or "total",
            row.kind if row.path else "",
            by(seen.output_shape),
            f"{seen.parameters:,}" if seen.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            readable(row.activation_bytes) if row.activation_bytes else "",
        )
    return table


def parity_table(title: str, verdicts: Sequence[Verdict]) -> Table:
    """One row for each backend, with a column of relative differences for each check.

    Where one is held to a bar of its own, that stands beside the answer.
    """
    names = list(dict.fromkeys(check.name for row in verdicts for check in row.checks))
    figures = ("parameters:", "buffers:", "max difference:", *(f"{name}:" for name in names), "seconds:")
    table = new_table("backend", "output", *figures, "agrees", title=title)
    strictest = min((row.checks[0].tolerance for row in verdicts), default=0.0)
    for row in verdicts:
        found = {check.name: f"{check.relative:.1e}" for check in row.checks}
        bar = row.checks[0].tolerance
        table.add_row(
            row.backend,
            by(row.output_shape),
            f"{row.parameters:,}",
            f"{row.buffers:,}",
            f"{row.absolute:.1e}",
            *(found.get(name, "-") for name in names),
            f"{row.seconds:.2f}",
            ("yes" if row.agrees else "NO") + (f", within {bar:.0e}" if bar > strictest else ""),
        )
    return table


def costs_table(title: str, costs: Sequence[Cost]) -> Table:
    """One row for each network, with a column of milliseconds for each backend."""
    names = [timing.backend for timing in costs[0].timings]
    columns = (f"{name} ms:" for name in names)
    table = new_table("network", "parameters:", "multiply-adds:", "activations:", *columns, title=title)
    for cost in costs:
        times = (f"{timing.median:.1f} ({timing.fastest:.1f}-{timing.slowest:.1f})" for timing in cost.timings)
        figures = (f"{cost.parameters:,}", f"{cost.multiply_adds:,}", readable(cost.activation_bytes))
        table.add_row(cost.network, *figures, *times)
    return table


def predictions_table(
    title: str, names: Sequence[str], true: Sequence[str | None], rows: Sequence[Sequence[tuple[str, float]]]
) -> Table:
    """One row for each image: its likeliest classes with probabilities, and the true one, where any is known."""
    known = any(name is not None for name in true)
    table = new_table("image", *(["true class"] if known else []), "predicted", *[""] * (len(rows[0]) - 1), title=title)
    for name, own, row in zip(names, true, rows):
        table.add_row(name, *([own or "-"] if known else []), *(f"{label} {share:.3f}" for label, share in row))
    return table


def new_table(*columns: str, title: str | None = None) -> Table:
    """A table whose columns are right-aligned where their name ends in a colon."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column.removesuffix(":"), justify="right" if column.endswith(":") else "left", overflow="fold")
    return table
