"""With one seed every backend trains alike: the same start, the same batches, the same steps."""

import numpy as np
import pytest

from tests.data.support import write_idx
from tests.training.support import NETWORK, begin, losses, settings

TOLERANCE, DEPARTURE = 1e-9, 1e-4
EXACT = {"dtype": "float64", "overrides": NETWORK}  # without dropout: no two frameworks draw the same
LONGER = EXACT | {"epochs": 4}  # 20 steps


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory) -> list[float]:
    """The losses of the reference."""
    return losses(begin(settings(data, "numpy", **LONGER), tmp_path_factory.mktemp("numpy")))


def departure(found: list[float], expected: list[float]) -> float:
    """The largest relative difference of two runs' losses."""
    return float(np.abs(np.array(found) / np.array(expected) - 1).max())


def test_twenty_losses_agree_with_the_references(data, tmp_path, expected, backend_name):
    found = losses(begin(settings(data, backend_name, **LONGER), tmp_path / "run"))
    assert len(found) == 20
    assert departure(found, expected) <= TOLERANCE


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"padding": 1}, {"flip": False}, {"schedule": "cosine"}, {"label_smoothing": 0.01}], ids=str
)
def test_another_seed_or_setting_departs(data, tmp_path, expected, other):
    found = losses(begin(settings(data, "numpy", **LONGER | other), tmp_path / "run"))
    assert departure(found, expected) > DEPARTURE


def test_another_pixel_departs(tmp_path, expected):
    """One of the 40 x 256, turned from dark to bright or back."""
    data = write_idx(tmp_path, 40, 16)
    file = data / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[-100] ^= 128
    file.write_bytes(content)
    found = losses(begin(settings(data, "numpy", **LONGER), tmp_path / "run"))
    assert departure(found, expected) > DEPARTURE
