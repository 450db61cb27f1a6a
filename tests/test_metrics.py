"""Metrics against tables that were counted by hand."""

from math import inf, log

import numpy as np
import pytest
from rich.console import Console

import spec
from densenet_tools.commands.evaluation_tables import confusion_table, metrics_table
from densenet_tools.metrics import Measured, Metrics, measure

# Probabilities of four images, and their classes: the losses are log 2, log 4, log 2 and log 8.
PROBABILITIES = np.array([[1 / 2, 1 / 4, 1 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2], [1 / 8, 3 / 4, 1 / 8]])
LABELS = np.array([0, 1, 2, 2])
EXPECTED = Metrics(
    loss=7 / 4 * log(2),
    accuracy=2 / 4,
    top5=None,
    count=4,
    confusion=((1, 0, 0), (1, 0, 0), (0, 1, 1)),
    precision=(1 / 2, 0 / 1, 1 / 1),
    recall=(1 / 1, 0 / 1, 1 / 2),
    support=(1, 1, 2),
)


def check(found: Metrics, expected: Metrics = EXPECTED) -> None:
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    assert found == Metrics(**vars(expected) | {"loss": found.loss})


def test_a_table_counted_by_hand():
    check(measure(np.log(PROBABILITIES), LABELS))


def test_logits_may_have_any_offset():
    check(measure(np.log(PROBABILITIES) + np.array([[1000], [-1000], [0], [7]]), LABELS))


def test_probabilities_are_taken_as_they_are():
    check(measure(PROBABILITIES, LABELS, probabilities=True))


def test_probabilities_taken_for_logits_are_noticed():
    """The control of the test before."""
    with pytest.raises(AssertionError):
        check(measure(PROBABILITIES, LABELS))


@pytest.mark.parametrize("size", [1, 3])
def test_batches_add_up(size):
    measured = Measured(3)
    for start in range(0, 4, size):
        measured.add(np.log(PROBABILITIES[start : start + size]), LABELS[start : start + size])
    check(measured.metrics())


def test_what_was_measured_can_be_asked_for_at_any_time():
    measured = Measured(3)
    measured.add(np.log(PROBABILITIES[:1]), LABELS[:1])
    assert measured.metrics().loss == pytest.approx(log(2))
    measured.add(np.log(PROBABILITIES[1:]), LABELS[1:])
    check(measured.metrics())


def test_logits_far_apart_neither_overflow_nor_vanish():
    logits = np.array([[0, 1e4, -3e38]], np.float32)
    assert measure(logits, np.array([0])).loss == 1e4
    assert measure(logits, np.array([1])).loss == 0


def test_a_probability_that_was_rounded_to_zero_has_a_finite_loss():
    """The smallest normal number of float32 is 2 ** -126."""
    found = measure(np.array([[1, 0]], np.float32), np.array([1]), probabilities=True)
    assert found.loss == pytest.approx(126 * log(2), rel=1e-12)


def test_shares_of_nothing_are_none():
    """No image is of class 2, and none is taken for class 1."""
    found = measure(np.eye(3)[[0, 0, 2]], np.array([0, 1, 0]))
    assert found.support == (2, 1, 0)
    assert found.recall == (1 / 2, 0.0, None)
    assert found.precision == (1 / 2, None, 0.0)


def test_of_equal_logits_the_first_counts():
    found = measure(np.array([[1.0, 1, 0], [1, 1, 0], [0, 1, 1]]), np.array([0, 1, 2]))
    assert found.accuracy == 1 / 3
    assert found.confusion == ((1, 0, 0), (1, 0, 0), (0, 1, 0))


def test_top5_is_the_share_of_images_whose_class_is_among_the_first_five():
    """Classes 0 to 6 in falling order; then all equal, where the first five are 0 to 4."""
    falling = np.tile(np.arange(7, 0, -1.0), (7, 1))
    assert measure(falling, np.arange(7)).top5 == 5 / 7
    assert measure(np.zeros((7, 7)), np.arange(7)).top5 == 5 / 7
    assert measure(falling[:, ::-1].copy(), np.arange(7)).top5 == 5 / 7
    assert measure(falling, np.array([4] * 7)).top5 == 1
    assert measure(falling, np.array([5] * 7)).top5 == 0


@pytest.mark.parametrize(("classes", "top5"), [(5, None), (6, 1.0)])
def test_there_is_no_top5_of_five_classes(classes, top5):
    assert measure(np.eye(classes), np.arange(classes)).top5 == top5


@pytest.mark.parametrize(
    ("logits", "labels", "sentence"),
    [
        ([[1.0]], LABELS, "logits must be a NumPy array of floats, found list"),
        (np.zeros((4, 3), int), LABELS, "logits must be a NumPy array of floats, found int64"),
        (np.zeros((4, 2)), LABELS, "logits must have shape (N, 3) with N at least 1, found (4, 2)"),
        (np.zeros(3), LABELS, "logits must have shape (N, 3) with N at least 1, found (3,)"),
        (np.zeros((0, 3)), LABELS[:0], "logits must have shape (N, 3) with N at least 1, found (0, 3)"),
        (
            np.array([[0.0] * 3, [0, inf, 0], [0] * 3, [np.nan] * 3]),
            LABELS,
            "logits must be finite, found others at image 1 of the batch: check the weights",
        ),
        (np.zeros((4, 3)), [0, 1, 2, 2], "labels must be a NumPy array of integers, found list"),
        (np.zeros((4, 3)), LABELS.astype(float), "labels must be a NumPy array of integers, found float64"),
        (np.zeros((4, 3)), LABELS[:3], "labels must have shape (4,), one for each image, found (3,)"),
        (np.zeros((4, 3)), LABELS + 1, "labels must lie between 0 and 2, found 1 to 3"),
        (np.zeros((4, 3)), LABELS - 1, "labels must lie between 0 and 2, found -1 to 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_counted(logits, labels, sentence):
    measured = Measured(3)
    measured.add(np.log(PROBABILITIES), LABELS)
    with pytest.raises(spec.SpecError) as error:
        measured.add(logits, labels)
    assert str(error.value) == sentence
    check(measured.metrics())


@pytest.mark.parametrize("logits", [np.array([[0.5, 0.6]]), np.array([[1.5, -0.5]]), np.array([[3.0, 1.0]])])
def test_logits_are_no_probabilities(logits):
    with pytest.raises(spec.SpecError) as error:
        measure(logits, np.array([0]), probabilities=True)
    assert str(error.value) == "probabilities must be at least 0 and sum up to 1 for each image: these are logits"


def test_nothing_has_no_metrics():
    with pytest.raises(spec.SpecError) as error:
        Measured(3).metrics()
    assert str(error.value) == "no image was measured: metrics need at least one"


def printed(table) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=160, markup=False)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_the_table_of_metrics_has_a_row_for_each_class_and_their_means():
    rows = printed(metrics_table("mine", measure(np.eye(3)[[0, 0, 2]], np.array([0, 1, 0])), ["cat", "dog", "[eel]"]))
    assert rows[:2] == [["mine"], ["loss", "1.2181", "accuracy", "0.3333", "3", "images"]]  # log(e + 2) - 1/3
    assert ["class", "images", "precision", "recall"] in rows
    assert ["cat", "2", "0.5000", "0.5000"] in rows
    assert ["dog", "1", "-", "0.0000"] in rows
    assert ["[eel]", "0", "0.0000", "-"] in rows
    assert ["mean", "3", "0.2500", "0.2500"] in rows


def test_the_title_has_the_top5_where_there_is_one():
    _, summary, *_ = printed(metrics_table("mine", measure(np.eye(6), np.arange(6)), list("abcdef")))
    assert summary == ["loss", "1.0436", "accuracy", "1.0000", "top-5", "1.0000", "6", "images"]  # log(e + 5) - 1


def test_the_confusion_table_has_a_row_and_a_column_for_each_class():
    rows = printed(confusion_table("mine", EXPECTED, ["cat", "dog", "eel"]))
    assert ["class", "0", "1", "2"] in rows
    assert ["0", "cat", "1"] in rows
    assert ["1", "dog", "1"] in rows
    assert ["2", "eel", "1", "1"] in rows


def test_of_many_classes_the_most_frequent_mistakes_are_listed():
    labels = np.repeat(np.arange(30), 4)
    predicted = labels.copy()
    predicted[[0, 1, 2, 40]] = 7, 7, 9, 11
    rows = printed(confusion_table("mine", measure(np.eye(30)[predicted], labels), [f"class{i}" for i in range(30)]))
    assert [row for row in rows if row and row[0].startswith("class") and row[0] != "class"] == [
        ["class0", "class7", "2", "0.5000"],
        ["class10", "class11", "1", "0.2500"],
        ["class0", "class9", "1", "0.2500"],
    ]
