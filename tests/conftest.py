"""Fixtures that all tests share."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys

import numpy as np
import pytest

from tests.support import FRAMEWORKS, require
from tests.trained import train, write_data

put_aside = {"modules": 0}  # how many there were when garbage was last put aside


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        metafunc.parametrize("backend_name", FRAMEWORKS)


@pytest.fixture
def backend(backend_name: str):
    """Each framework's backend in turn."""
    return require(backend_name)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with data and a run on them, which no test changes."""
    place = write_data(tmp_path_factory.mktemp("trained"))
    train(place)
    return place


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A folder of the test's own to work in, with links to the data and the run."""
    for path in trained.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _clean_keras():
    """Drops what Keras keeps of a test's models.

    It collects garbage for that, which takes a third of a second with three frameworks in memory: what they made of
    themselves on import is put aside, as it stays anyway.
    """
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
        if len(sys.modules) > put_aside["modules"] + 100:
            gc.freeze()
            put_aside["modules"] = len(sys.modules)
