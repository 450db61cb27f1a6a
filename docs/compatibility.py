"""Makes compatibility.md: every use in tests/compatibility is tried, and what came of it is written down.

python docs/compatibility.py
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
HEAD = """# At home in each ecosystem

What people do with a DenseNet there, from the frameworks' guides, other libraries' utilities and issue trackers, each
tried with ours by [a test](../tests/compatibility). Made by `python docs/compatibility.py`.

"""


def page() -> Iterator[str]:
    """The lines of the page."""
    from tests.compatibility.test_uses import ECOSYSTEMS

    ecosystems = [import_module(f"tests.compatibility.{module}").ECOSYSTEM for module in ECOSYSTEMS.values()]
    results = {ecosystem.name: [_tried(use) for use in ecosystem.uses] for ecosystem in ecosystems}
    yield "| | tried | work | refused in a sentence |"
    yield "| --- | --- | --- | --- |"
    for name, found in results.items():
        works = found.count("works")
        anchor = name.lower().replace(",", "").replace(" ", "-")
        yield f"| [{name}](#{anchor}) | {len(found)} | {works} | {len(found) - works} |"
    for ecosystem in ecosystems:
        yield from ("", f"## {ecosystem.name}", "", "| use | result | shown in |", "| --- | --- | --- |")
        for use, result in zip(ecosystem.uses, results[ecosystem.name]):
            yield f"| {_cell(use.name)} | {_cell(result)} | <{use.source}> |"


def _tried(use: Any) -> str:
    """In a folder of its own, as tests do, and with nothing left of it in Keras."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            result = str(use.result())
            says = use.says or "works"
            if says not in result:
                raise SystemExit(f"{use.name}: {says!r} expected, found {result!r}")
            return result
        finally:
            os.chdir(ROOT)
            if "keras" in sys.modules:
                sys.modules["keras"].backend.clear_session()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(HEAD + "\n".join(page()) + "\n", encoding="utf-8")
