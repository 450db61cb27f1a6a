"""The report of a diagnosis, for people: one HTML page that needs nothing else."""

from collections.abc import Iterable, Sequence
from math import isfinite

from densenet_tools.diagnosis.findings import STEP, Finding
from densenet_tools.diagnosis.markup import escaped
from densenet_tools.diagnosis.plot import mark, svg
from densenet_tools.diagnosis.report import amount, grouped, verdict
from densenet_tools.diagnosis.verdict import Diagnosis

STYLE = """
:root { color-scheme: light dark; --background: #ffffff; --text: #1f2328; --grid: #d1d9e0; --line: #57606a;
  --right: #1a7f37; --wrong: #cf222e; --explained: #0969da }
@media (prefers-color-scheme: dark) {
  :root { --background: #0d1117; --text: #e6edf3; --grid: #3d444d; --line: #b1bac4;
    --right: #56d364; --wrong: #ff7b72; --explained: #58a6ff } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: var(--text); background: var(--background) }
.verdict { border-left: .3rem solid; padding-left: .7rem; font-weight: 600 }
.agrees { border-color: var(--right) } .departs { border-color: var(--wrong) }
.wide { overflow-x: auto } h2 { margin-top: 2.5rem } summary { cursor: pointer }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid) }
tbody th { padding-top: 1rem } code { font-size: 12px } small { font-weight: 400 }
.findings td:nth-child(-n+4) { white-space: nowrap }
svg { font: 12px system-ui, sans-serif; vertical-align: middle }
.plot { display: block; width: 100%; min-width: 45rem }
text { fill: var(--text); stroke: var(--background); stroke-width: 3px; paint-order: stroke }
.middle { text-anchor: middle } .end { text-anchor: end }
.grid { stroke: var(--grid) } .leader { stroke: var(--line); stroke-width: .5px }
.tolerance { stroke: var(--text); stroke-dasharray: 5 4 }
polyline { fill: none; stroke: var(--line) } circle { fill: var(--line) }
.explained { fill: var(--explained) } .unexplained { fill: var(--wrong) }
"""
HEAD = ("layer", "in the model", "departs by", "with the cause", "mended by")


def to_html(found: Diagnosis) -> str:
    """The verdict, difference against depth, each fault with its cause and what mends it, and which layer is which."""
    title = f"Diagnosis of {escaped(found.network)}"
    said = escaped(verdict(found))
    parts = (
        _items(found.structure),
        _depth(found) if found.layers else "",
        _findings(grouped(found.findings)) if found.findings else "",
        f"<h2>Notes</h2>{_items(found.notes)}" if found.notes else "",
        _mapping(found) if found.mapping or found.unmatched else "",
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{STYLE}</style></head>
<body><h1>{title}</h1>
<p class="verdict {"agrees" if found.agrees else "departs"}">{said[0].upper()}{said[1:]}</p>
{"".join(parts)}
</body></html>
"""


def _depth(found: Diagnosis) -> str:
    marks = f"{_sample(True)} a cause explains it; {_sample(False)} nothing that was tried does. "
    infinity = "∞ is another shape, or what is no number. "
    legend = marks * bool(found.findings) + infinity * any(not isfinite(relative) for _, relative in found.layers)
    return f"""<h2>Difference against depth</h2>
<p>How far each layer's output is from the network's, all faults before it included, relative to the largest value.
{legend}Point at a layer for its name.</p>
<div class="wide">{svg(found)}</div>
"""


def _sample(explained: bool) -> str:
    return f'<svg width="16" height="16">{mark(explained, 8, 8, "explained" if explained else "not explained")}</svg>'


def _findings(groups: Sequence[Sequence[Finding]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in HEAD)
    body = "".join(_group(number, group) for number, group in enumerate(groups, start=1))
    return f"""<h2>Findings</h2>
<p>Each layer is looked at with the model's own numbers from the layers before it. Numbers are those of the plot.</p>
<div class="wide"><table class="findings"><thead><tr>{head}</tr></thead>{body}</table></div>
"""


def _group(number: int, group: Sequence[Finding]) -> str:
    first = group[0]
    place = "optimizer" if first.where == STEP else "layer"
    there = f"; the model runs {', '.join(first.runs)} there" if first.runs else ""
    causes = "; ".join(cause.text for cause in first.causes) or f"nothing that was tried explains it{there}"
    text = f"{_sample(bool(first.causes))} {number} {escaped(causes)} <small>in what the {place} {first.where}</small>"
    return f'<tbody><tr><th colspan="{len(HEAD)}">{text}</th></tr>{"".join(map(_row, group))}</tbody>'


def _row(found: Finding) -> str:
    after = "-" if found.after is None else amount(found.after)
    lines = "<br>".join(map(_code, found.lines)) or "-"
    cells = (_code(found.layer), _code(found.own), amount(found.before), after, lines)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _mapping(found: Diagnosis) -> str:
    pairs = "".join(f"<tr><td>{_code(ours)}</td><td>{_code(theirs)}</td></tr>" for ours, theirs in found.mapping)
    head = "<tr><th>layer</th><th>in the model</th></tr>"
    left = f"<p>Without a partner, of the model:</p>{_items(found.unmatched)}" if found.unmatched else ""
    return f"""<h2>Mapping</h2>
<details><summary>{len(found.mapping)} layers with a partner, {len(found.unmatched)} of the model without</summary>
{left}<div class="wide"><table><thead>{head}</thead><tbody>{pairs}</tbody></table></div></details>
"""


def _items(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escaped(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _code(name: str) -> str:
    return f"<code>{escaped(name)}</code>" if name else "-"
