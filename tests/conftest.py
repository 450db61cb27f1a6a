"""Fixtures that all tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys

import numpy as np
import pytest

from tests.support import FRAMEWORKS, require


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
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()
