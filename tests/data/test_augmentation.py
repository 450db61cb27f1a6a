"""Padding, cropping and mirroring do to pixels what hand computation says, as often as they should."""

from itertools import product

import numpy as np
import pytest

import spec
from densenet_tools.data import Augmentation
from densenet_tools.data.augmentation import augment

IMAGE = np.array([[1, 2], [3, 4]], np.uint8)[None, ..., None]  # (1, 2, 2, 1)


class Drawn:
    """A generator whose draws are known."""

    def __init__(self, corners=(), chances=()):
        self.corners, self.chances = np.array(corners), np.array(chances)

    def integers(self, low, high, size, endpoint):
        assert size == self.corners.shape
        return self.corners

    def random(self, count):
        assert count == len(self.chances)
        return self.chances


def test_a_crop_of_the_padded_image_at_every_offset():
    """By hand: with one black pixel around, the corner (down, right) moves the image by (1 - down, 1 - right)."""
    expected = {
        (0, 0): [[0, 0], [0, 1]],
        (0, 1): [[0, 0], [1, 2]],
        (0, 2): [[0, 0], [2, 0]],
        (1, 0): [[0, 1], [0, 3]],
        (1, 1): [[1, 2], [3, 4]],
        (1, 2): [[2, 0], [4, 0]],
        (2, 0): [[0, 3], [0, 0]],
        (2, 1): [[3, 4], [0, 0]],
        (2, 2): [[4, 0], [0, 0]],
    }
    found = augment(IMAGE.repeat(9, axis=0), Augmentation(padding=1), Drawn(corners=list(expected)))
    assert found.dtype == np.uint8
    assert found[..., 0].tolist() == list(expected.values())


def test_an_image_is_mirrored_left_to_right_where_the_draw_is_below_a_half():
    found = augment(IMAGE.repeat(3, axis=0), Augmentation(flip=True), Drawn(chances=[0.5, 0.4999, 0.0]))
    assert found[..., 0].tolist() == [[[1, 2], [3, 4]], [[2, 1], [4, 3]], [[2, 1], [4, 3]]]


def test_colors_stay_together():
    colors = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    found = augment(colors, Augmentation(padding=1, flip=True), Drawn(corners=[(0, 1)], chances=[0.1]))
    assert found.tolist() == [[[[0, 0, 0], [0, 0, 0]], [[3, 4, 5], [0, 1, 2]]]]


def test_without_settings_nothing_is_drawn_and_nothing_changes():
    assert (augment(IMAGE, Augmentation(), None) == IMAGE).all()


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_every_offset_is_as_likely_as_every_other(padding):
    """A single bright pixel in the center tells the offset. 4000 draws: each count within five deviations."""
    size, draws = 2 * padding + 1, 4000
    dot = np.zeros((draws, size, size, 1), np.uint8)
    dot[:, padding, padding] = 1
    found = augment(dot, Augmentation(padding=padding), np.random.default_rng(0))
    counts = found.sum(axis=0, dtype=int)[..., 0]
    share = 1 / size**2
    assert counts.sum() == draws
    assert (abs(counts - draws * share) < 5 * (draws * share * (1 - share)) ** 0.5).all()


def test_half_of_the_images_are_mirrored():
    """10,000 draws: within five deviations, 5 * sqrt(10,000) / 2, of 5,000."""
    found = augment(IMAGE.repeat(10_000, axis=0), Augmentation(flip=True), np.random.default_rng(0))
    assert abs((found[:, 0, 0, 0] == 2).sum() - 5000) < 250


def test_shifts_and_flips_do_not_go_together():
    """Each of 2 x 9 cases, 1000 times on average, within five deviations."""
    found = augment(IMAGE.repeat(18_000, axis=0), Augmentation(padding=1, flip=True), np.random.default_rng(0))
    shifted = {
        corner: augment(IMAGE, Augmentation(padding=1), Drawn(corners=[corner]))[0, ..., 0]
        for corner in product(range(3), repeat=2)
    }
    counts = [(found[..., 0] == image[:, ::turn]).all((1, 2)).sum() for image in shifted.values() for turn in (1, -1)]
    assert sum(counts) == 18_000
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in counts)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"padding": -1}, "padding: should be greater than or equal to 0, found -1"),
        ({"padding": 1.5}, "padding: should be a valid integer, found 1.5"),
        ({"flip": 1}, "flip: should be a valid boolean, found 1"),
        ({"pading": 1}, "pading: unknown field, did you mean 'padding'?"),
    ],
)
def test_what_is_no_augmentation_is_refused(fields, sentence):
    with pytest.raises(spec.SpecError) as error:
        Augmentation(**fields)
    assert str(error.value) == sentence
