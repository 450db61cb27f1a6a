"""The report of a comparison, for people: one HTML page that needs nothing else."""

import io
from collections.abc import Sequence
from html import escape
from itertools import groupby

from densenet_tools.parity.report import Report
from densenet_tools.parity.verdict import Check, Verdict

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #d8dee4 }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
.yes { background: #e6f4ea } .no { background: #fce4e4; font-weight: 600 } .none { color: #8c959f }
section { margin-top: 2.5rem } svg { max-width: 100%; height: auto }
"""
EQUAL = 1e-18  # where the plots draw a difference of zero, which has no logarithm


def to_html(report: Report) -> str:
    """A matrix of networks, backends and checks, then a plot of difference against depth for each network."""
    agree = sum(result.agrees for result in report.results)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>DenseNet parity, {report.dtype}</title><style>{STYLE}</style></head>
<body><h1>Parity with the NumPy reference in {report.dtype}</h1>
<p>{agree} of {len(report.results)} comparisons agree. Figures are largest differences, relative to the largest value;
hover over one for its tolerance and where it is. In the plots {EQUAL:.0e} stands for zero.
Seed {report.seed}, {report.batch} images, Python {report.python},
{escape(versions)}.</p>
{_matrix(report.results)}
{"".join(_section(name, list(rows)) for name, rows in groupby(report.results, key=lambda row: row.network))}
</body></html>
"""


def _matrix(results: Sequence[Verdict]) -> str:
    names = list(dict.fromkeys(check.name for result in results for check in result.checks))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("network", "backend", "parameters", *names))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(row, names) for row in results)}</tbody></table>"


def _row(result: Verdict, names: Sequence[str]) -> str:
    checks = {check.name: check for check in result.checks}
    cells = "".join(_cell(checks.get(name)) for name in names)
    name, backend = escape(result.network), escape(result.backend)
    link = f'<td><a href="#{name}">{name}</a></td><td>{backend}</td>'
    return f"<tr>{link}<td>{result.parameters:,}</td>{cells}</tr>"


def _cell(check: Check | None) -> str:
    if check is None:
        return '<td class="none">-</td>'
    title = escape(f"tolerance {check.tolerance:.0e}, at {check.worst}")
    return f'<td class="{"yes" if check.passes else "no"}" title="{title}">{check.relative:.1e}</td>'


def _section(name: str, results: Sequence[Verdict]) -> str:
    problems = "".join(f"<p class=no>{escape(result.problem)}</p>" for result in results if result.problem)
    plot = _plot(results) if any(result.layers for result in results) else ""
    return f'<section id="{escape(name)}"><h2>{escape(name)}</h2>{problems}{plot}</section>'


def _plot(results: Sequence[Verdict]) -> str:
    """Relative difference of each layer against its place in the network, a line for each backend, as SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for result in results:
        differences = [max(relative, EQUAL) for _, relative in result.layers]
        if any(relative > EQUAL for relative in differences):
            axes.plot(range(1, len(differences) + 1), differences, linewidth=0.8, label=result.backend)
    axes.axhline(results[0].checks[0].tolerance, color="black", linewidth=0.8, linestyle="--", label="tolerance")
    axes.set(yscale="log", xlabel="layer, in the order of the network", ylabel="relative difference")
    figure.legend(loc="outside right center")
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
