"""What is drawn depends on the seed and on what it is for, and on nothing that was drawn before."""

import numpy as np
import pytest

import spec
from densenet_tools.data import epoch_order, held_out
from densenet_tools.data.draws import Purpose, generator
from tests.data.support import in_memory


def made(labels, classes=2):
    return in_memory(np.zeros((len(labels), 2, 2), np.uint8), labels, classes)


def test_an_epoch_has_each_image_once_in_an_order_of_its_own():
    orders = [epoch_order(50, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 9
    assert (epoch_order(50, 1, 2) == orders[5]).all()


def test_the_random_numbers_of_a_batch_are_those_of_seed_epoch_and_number():
    assert (generator(Purpose.AUGMENTATION, 7, 2, 5).random(4) == np.random.default_rng([7, 2, 5]).random(4)).all()


def test_no_two_purposes_and_no_two_places_share_their_numbers():
    """Were the purpose left out, an epoch's order would be drawn from what augments its first batch."""
    places = [(seed, epoch, batch) for seed in (0, 1, 2) for epoch in (0, 1, 2) for batch in (0, 1, 2)]
    drawn = {generator(purpose, *place).random() for purpose in Purpose for place in places}
    assert len(drawn) == len(Purpose) * len(places)


@pytest.mark.parametrize("value", [-1, 2**32, 1.0, True, None])
def test_a_seed_that_is_none_is_refused(value):
    sentence = f"must be a whole number from 0 to 4294967295, found {value!r}"
    for name, place in (("seed", (value,)), ("epoch", (0, value)), ("batch", (0, 0, value))):
        with pytest.raises(spec.SpecError) as error:
            generator(Purpose.ORDER, *place)
        assert str(error.value) == f"{name} {sentence}"


class TestHeldOut:
    LABELS = [0] * 10 + [1] * 20 + [0] * 10

    def test_is_a_share_of_each_class(self):
        train, validation = held_out(made(self.LABELS), 0.25, seed=0)
        assert np.bincount(train.labels).tolist() == [15, 15]
        assert np.bincount(validation.labels).tolist() == [5, 5]

    def test_and_the_rest_are_all_images_in_their_order(self):
        train, validation = held_out(made(self.LABELS), 0.25, seed=0)
        for part in (train, validation):
            assert (np.diff(part.numbers) > 0).all()
            assert part.classes == ("a", "b")
        assert sorted([*train.numbers, *validation.numbers]) == list(range(40))

    def test_is_drawn_by_the_seed_alone(self):
        drawn = [tuple(held_out(made(self.LABELS), 0.25, seed)[1].numbers) for seed in (0, 1, 2, 0)]
        assert drawn[0] == drawn[3]
        assert len(set(drawn)) == 3

    def test_takes_every_image_as_often_as_every_other(self):
        """A quarter of 400 draws, within five deviations."""
        counts = np.zeros(40)
        for seed in range(400):
            counts[held_out(made(self.LABELS), 0.25, seed)[1].numbers] += 1
        assert (abs(counts - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5).all()

    @pytest.mark.parametrize(("share", "held"), [(0.001, 1), (0.5, 2), (0.999, 4)])
    def test_leaves_one_of_each_class_on_both_sides(self, share, held):
        """Of five images each; half of five is rounded to the even 2."""
        train, validation = held_out(made([0, 1] * 5), share, seed=0)
        assert np.bincount(validation.labels).tolist() == [held, held]
        assert np.bincount(train.labels).tolist() == [5 - held, 5 - held]

    @pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan"), "half", True])
    def test_a_share_that_is_none_is_refused(self, share):
        with pytest.raises(spec.SpecError) as error:
            held_out(made([0, 1, 0, 1]), share, seed=0)
        assert str(error.value) == f"the share that is held out must be a number between 0 and 1, found {share!r}"

    def test_a_class_with_one_image_is_refused(self):
        with pytest.raises(spec.SpecError) as error:
            held_out(made([0, 1, 0]), 0.5, seed=0)
        assert str(error.value) == "made has 1 image(s) of 'b': to hold some out takes two or more"
