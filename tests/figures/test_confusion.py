"""The confusion matrix as a picture."""

import numpy as np
import pytest

from densenet_tools.figures.confusion import confusion, draw
from densenet_tools.metrics import Metrics, measure
from tests.figures.support import check_room, laid_out, texts

CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def taken_for(counts: list[list[int]]) -> Metrics:
    """Metrics of a test set of which so many images of class i were taken for class j."""
    pairs = [(i, j) for i, row in enumerate(counts) for j, count in enumerate(row) for _ in range(count)]
    labels, predicted = np.array(pairs).T
    return measure(np.eye(len(counts))[predicted], labels)


def test_cells_have_counts_and_colors_are_shares_of_rows():
    with laid_out(draw, taken_for([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["cat", "dog", "$eel$"]) as figure:
        axes, bar = figure.axes
        assert np.asarray(axes.get_images()[0].get_array()).tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
        assert [(text.get_text(), text.get_position()) for text in axes.texts] == [
            ("3", (0, 0)),
            ("1", (1, 0)),
            ("2", (1, 1)),
        ]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "$eel$"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "$eel$"]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
        assert bar.get_ylabel() == "share of the images of the true class"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ten_classes_are_named_and_counted(theme):
    counts = np.full((10, 10), 1) + np.diag(range(10, 20))
    with laid_out(draw, taken_for(counts.tolist()), CLOTHES, theme=theme) as figure:
        check_room(figure)
        assert set(CLOTHES) <= set(texts(figure))
        assert len(figure.axes[0].texts) == 100
        first, second, *_ = figure.axes[0].get_xticklabels()
        assert not first.get_window_extent().overlaps(figure.axes[0].get_window_extent())
        assert second.get_fontsize() == 9


def test_a_hundred_classes_have_neither_names_nor_counts():
    with laid_out(draw, taken_for(np.eye(100, dtype=int).tolist()), [f"class {i}" for i in range(100)]) as figure:
        check_room(figure)
        assert list(figure.axes[0].texts) == []
        assert not [text for text in texts(figure) if text.startswith("class ")]


def test_names_are_shortened_where_they_are_long():
    with laid_out(draw, taken_for([[1, 0], [0, 1]]), ["cat", "a dog of a very long name"]) as figure:
        check_room(figure)
        assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["cat", "a dog of a very lon…"]


def test_a_confusion_matrix_is_a_file():
    assert confusion(taken_for([[1, 0], [1, 1]]), ["cat", "dog"], "svg", "dark").startswith(b"<?xml")
