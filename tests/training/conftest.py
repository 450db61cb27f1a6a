"""The data that the runs of this folder are trained on, and what an undisturbed run leaves."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.support import write_idx
from tests.training.support import COUNT, ITEMS, STOPPED, begin, outcome, settings


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """The files of a small Fashion-MNIST, which no test changes."""
    return write_idx(tmp_path_factory.mktemp("data"), COUNT, 16)


@pytest.fixture(scope="session")
def undisturbed(data, tmp_path_factory) -> Callable[[str], dict[str, Any]]:
    """What a run of a backend leaves that nobody breaks off."""
    found = {}

    def run(name: str) -> dict[str, Any]:
        if name not in found:
            place = tmp_path_factory.mktemp(name)
            assert len(begin(settings(data, name), place)) == ITEMS
            found[name] = outcome(place)
        return found[name]

    return run


@pytest.fixture(scope="session")
def stopped(data, tmp_path_factory) -> Path:
    """A run of the reference that was stopped after STOPPED steps, and saved; see `run`."""
    place = tmp_path_factory.mktemp("stopped") / "run"
    begin(settings(data, "numpy"), place, items=STOPPED + 1, save=True)
    return place


@pytest.fixture
def run(stopped, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))
