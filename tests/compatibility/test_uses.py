"""Each use works, or is refused in the sentence that the table has."""

import importlib

import pytest

from tests.support import require

ECOSYSTEMS = {"torch": "torch_uses", "keras": "keras_uses", "mxnet": "mxnet_uses"}


def uses():
    for backend, module in ECOSYSTEMS.items():
        try:
            ecosystem = importlib.import_module(f"tests.compatibility.{module}").ECOSYSTEM
        except ImportError:  # of a framework that is not installed
            continue
        yield from (pytest.param(backend, use, id=f"{backend}-{use.name}") for use in ecosystem.uses)


@pytest.mark.parametrize(("backend", "use"), uses())
def test_a_use_works_or_says_what_to_do(backend, use, tmp_path, monkeypatch):
    require(backend)
    monkeypatch.chdir(tmp_path)
    result = use.result()
    assert result == "works" if use.says is None else use.says in result, result
