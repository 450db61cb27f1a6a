"""Pictures beside each other, with what they show and what they were taken for."""

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools.figures.canvas import THEMES
from densenet_tools.figures.grid import draw, grid
from tests.figures.support import check_room, laid_out, texts


def gray(count: int) -> list[np.ndarray]:
    return [np.full((28, 28), i, np.uint8) for i in range(count)]


def shown(figure) -> list:
    return [axes for axes in figure.axes if axes.get_images()]


def test_each_picture_has_its_classes_and_a_wrong_one_has_a_cross_and_a_frame():
    with laid_out(draw, gray(3), ["Coat", "Bag", "Shirt"], ["Coat", "Dress", "Shirt"]) as figure:
        assert [axes.get_title() for axes in shown(figure)] == ["Coat\n✓ Coat", "Dress\n✗ Bag", "Shirt\n✓ Shirt"]
        assert [axes.get_frame_on() for axes in shown(figure)] == [False, True, False]
        assert [axes.title.get_color() for axes in shown(figure)] == [
            THEMES["light"].text,
            THEMES["light"].wrong,
            THEMES["light"].text,
        ]
        assert "first line: true class; second: predicted, ✓ right, ✗ wrong" in texts(figure)


def test_without_true_classes_there_are_the_predicted_ones_alone():
    with laid_out(draw, gray(2), ["Coat", "$Bag$"], None) as figure:
        assert [axes.get_title() for axes in shown(figure)] == ["Coat", "$Bag$"]
        assert texts(figure) == ["Coat", "$Bag$"]


def test_pictures_of_all_kinds_and_sizes_are_shown_as_they_are(rng):
    colors = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    images = [
        colors,
        colors[..., 0],
        colors[..., :1],
        Image.fromarray(colors),
        Image.fromarray(colors[..., 0]),
        Image.fromarray(colors).convert("P"),
    ]
    with laid_out(draw, images, ["x"] * 6, None) as figure:
        found = [np.asarray(axes.get_images()[0].get_array()) for axes in shown(figure)]
        assert [axes.get_images()[0].get_clim() for axes in shown(figure)] == [(0, 255)] * 6
    assert [image.shape for image in found] == [(20, 30, 3), (20, 30), (20, 30), (20, 30, 3), (20, 30), (20, 30, 3)]
    assert (found[0] == colors).all()
    assert (found[3] == colors).all()
    assert all((found[i] == colors[..., 0]).all() for i in (1, 2, 4))


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (8, 1, 8), (9, 2, 5), (18, 3, 6), (100, 13, 8)])
def test_rows_are_of_equal_length_as_far_as_they_can_be(count, rows, columns):
    with laid_out(draw, gray(count), ["a class of a long name"] * count, ["Coat"] * count) as figure:
        check_room(figure)
        assert figure.axes[0].get_gridspec().get_geometry() == (rows, columns)
        assert [axes.get_images()[0].get_array()[0, 0] for axes in shown(figure)] == list(range(count))


@pytest.mark.parametrize(
    ("images", "predicted", "true", "sentence"),
    [
        ([], [], None, "a grid has 1 to 100 pictures, found 0"),
        (gray(101), ["x"] * 101, None, "a grid has 1 to 100 pictures, found 101"),
        (gray(2), ["x"], None, "a grid of 2 pictures needs as many classes, found 1"),
        (gray(2), ["x"] * 2, ["x"] * 3, "a grid of 2 pictures needs as many classes, found 3"),
        (
            [np.zeros((3, 28, 28), np.uint8)],
            ["x"],
            None,
            "a picture is (H, W), (H, W, 1) or (H, W, 3) in uint8, found (3, 28, 28) in uint8",
        ),
        (
            [np.zeros((28, 28), np.float32)],
            ["x"],
            None,
            "a picture is (H, W), (H, W, 1) or (H, W, 3) in uint8, found (28, 28) in float32",
        ),
    ],
)
def test_what_is_no_grid_is_refused(images, predicted, true, sentence):
    with pytest.raises(spec.SpecError) as error:
        grid(images, predicted, true, "png")
    assert str(error.value) == sentence


def test_a_grid_is_a_file():
    assert grid(gray(2), ["x", "y"], ["x", "x"], "pdf", "dark").startswith(b"%PDF")
