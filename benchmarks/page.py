"""docs/performance.md, made of the files of results and of nothing else."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.sections import PICTURE, SECTIONS
from densenet_tools.figures.canvas import Theme
from spec.files import replacing

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "performance.md"
THEMES: tuple[Theme, ...] = ("light", "dark")
HEAD = """# What it costs

Ours beside other implementations, with the same weights: measured by `python -m benchmarks` (`make benchmark` makes an
environment of its own for it, peers included), written by `python -m benchmarks page` from
[the results](../benchmarks/results) alone.

Each engine has a process of its own, which is stopped while another runs. Its output is compared with the first one's
before it is timed. All take turns, round by round; a round's figure is the median of its calls, a ratio the median of
those of all rounds. Ours are in bold; `applications` is keras.applications, `zoo` MXNet's model zoo, and `onnxruntime`
and `openvino` run what PyTorch exports of torchvision's.
"""


def refresh(folder: Path, check: bool) -> int:
    """Writes the page and its pictures; with `check` writes nothing, and is 1 where the page is not current."""
    found = results.read(folder)
    text = made(found)
    if check:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not current:
            print("docs/performance.md is not current: python -m benchmarks page writes it", file=sys.stderr)
        return 0 if current else 1
    if "growth" in found:
        from benchmarks.plots import growth

        for theme in THEMES:
            with replacing(DOCS / PICTURE.format("" if theme == "light" else f"-{theme}")) as beside:
                beside.write_bytes(growth(found["growth"]["figures"], theme))
    with replacing(PAGE) as beside:
        beside.write_text(text, encoding="utf-8")
    return 0


def made(found: Mapping[str, Any]) -> str:
    """The page of {part: content}."""
    sections = ("\n".join(SECTIONS[part](content)) for part, content in found.items())
    return "\n\n".join([HEAD.strip(), *sections]) + "\n"
