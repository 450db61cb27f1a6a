"""Which backends a run tests, and what all tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from densenet_tools import backends

FRAMEWORKS = [name for name in backends.BACKENDS if name != "numpy"]


def chosen() -> list[str]:
    """The backends besides NumPy that this run tests: those that DENSENET_BACKENDS names, or that are installed."""
    wanted = os.environ.get("DENSENET_BACKENDS")
    names = backends.installed() if wanted is None else wanted.split(",")
    return [name for name in names if name != "numpy"]


def require(name: str):
    """The backend, or a skip where this run does not test it; one that DENSENET_BACKENDS names must be there."""
    if name not in ("numpy", *chosen()):
        pytest.skip(f"{name} is not installed, or DENSENET_BACKENDS leaves it out")
    return backends.get(name)


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


@pytest.fixture(autouse=True)
def _clean_keras():
    """Drops what Keras keeps of a test's models."""
    yield
    import sys

    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
