"""Each use works, or is refused in the sentence that the table has."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import require

ECOSYSTEMS = {"torch": "torch_uses", "keras": "keras_uses", "mxnet": "mxnet_uses"}


def names(module: str) -> Iterator[str]:
    """The names in a list, read from its text: importing it would import its framework."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for decorator in (each for each in function.decorator_list if isinstance(each, ast.Call)):
            yield ast.literal_eval(decorator.args[0])


USES = [(backend, name) for backend, module in ECOSYSTEMS.items() for name in names(module)]


@pytest.mark.parametrize(("backend", "name"), USES, ids=[f"{backend}-{name}" for backend, name in USES])
def test_a_use_works_or_says_what_to_do(backend, name, tmp_path, monkeypatch):
    require(backend)
    ecosystem = importlib.import_module(f"tests.compatibility.{ECOSYSTEMS[backend]}").ECOSYSTEM
    (use,) = [each for each in ecosystem.uses if each.name == name]
    monkeypatch.chdir(tmp_path)
    result = use.result()
    assert result == "works" if use.says is None else use.says in result, result


def test_no_use_is_missed():
    assert all(sum(backend == each for each, _ in USES) >= 40 for backend in ECOSYSTEMS)
