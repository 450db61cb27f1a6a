"""Photographs become the input that published networks expect."""

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import images

HALF_A_LEVEL = 0.5 / 255 / 0.22  # of 256 gray levels, in units of the standard deviation


def test_no_two_pixels_are_equal(photograph):
    """Half of the photograph is one red, the other one blue."""
    batch = images.load([photograph], 2, (3, 32, 32))
    assert len(np.unique(batch)) == batch.size


@pytest.fixture
def photograph(tmp_path):
    """Left half red, right half blue, 300 wide and 200 high."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:, :150, 0] = pixels[:, 150:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def test_values_are_normalized_as_for_imagenet(photograph):
    (image,) = images.load([photograph], 1, (3, 32, 48))
    assert image.shape == (3, 32, 48)
    assert image.dtype == np.float64
    assert image[:, 0, 0] == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=HALF_A_LEVEL)
    assert image[:, -1, -1] == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], abs=HALF_A_LEVEL)


def test_every_second_crop_is_mirrored_and_all_differ(photograph):
    batch = images.load([photograph], 4, (3, 32, 32))
    left_is_red = batch[:, 0, 0, 0] > 0
    assert left_is_red.tolist() == [True, False, True, False]
    assert len({image.tobytes() for image in images.load(images.samples(), 6, (3, 32, 32))}) == 6
    assert (images.load([photograph], 4, (3, 32, 32)) == batch).all()


def test_photographs_take_turns(photograph, tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "gray.jpg")
    batch = images.load([photograph, tmp_path / "gray.jpg"], 3, (3, 16, 16))
    flat = [bool(np.ptp(image[0]) < 2 * HALF_A_LEVEL) for image in batch]
    assert flat == [False, True, False]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels(photograph, channels):
    batch = images.load([photograph], 1, (channels, 16, 16))
    assert batch.shape == (1, channels, 16, 16)
    if channels == 5:
        assert batch[0, 3] == pytest.approx(batch[0, 0], abs=2 * HALF_A_LEVEL)


def test_the_sample_is_a_photograph():
    (image,) = images.load(images.samples(), 1, (3, 224, 224))
    assert image.std() > 0.5


def test_what_is_no_image_is_refused(tmp_path):
    for content in (b"", b"GIF89a but not really"):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(spec.SpecError, match=r"x\.png cannot be read as an image"):
            images.load([tmp_path / "x.png"], 1, (3, 16, 16))
