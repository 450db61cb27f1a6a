"""Batches are the same to the bit whoever makes them, wherever they begin, and as a single image is prepared."""

import threading
from itertools import islice

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import images
from densenet_tools.data import Augmentation, batches, count_batches, epoch_order, image_folder, preprocessing_for
from tests.data.support import in_memory, write_folder

RANDOM = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
GRAY = in_memory(RANDOM)
COLORED = in_memory(np.random.default_rng(1).integers(0, 256, (50, 8, 8, 3), np.uint8))
AS_IT_IS = {"size": 8, "resize": None}
GRAYS = spec.Preprocessing(**AS_IT_IS, mean=(0.25,), std=(0.5,))
COLORS = spec.Preprocessing(**AS_IT_IS)
SETTINGS = {
    "preprocessing": GRAYS,
    "channels": 1,
    "batch_size": 8,
    "order": epoch_order(50, seed=3, epoch=2),
    "augmentation": Augmentation(padding=2, flip=True),
    "seed": 3,
    "epoch": 2,
}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", parts=(), mode="RGB")


def same(found, expected) -> bool:
    """All batches, to the bit."""
    found, expected = list(found), list(expected)
    return len(found) == len(expected) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for one, other in zip(found, expected)
        for a, b in zip(one, other)
    )


def one_by_one(dataset, tmp_path):
    """The same images as files."""
    for i in range(len(dataset)):
        place = tmp_path / "one by one" / dataset.classes[dataset.labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        dataset.image(i).save(place / f"{i:03}.png")
    return image_folder(tmp_path / "one by one").train


def test_by_hand():
    """Two images of 2x2: (value / 255 - 0.2) / 0.4, for values 0, 51, 102, 153, 204, 255 that is -0.5 to 2."""
    pixels = np.array([[[0, 51], [102, 153]], [[204, 255], [51, 51]]], np.uint8)
    preprocessing = spec.Preprocessing(size=2, resize=None, mean=(0.2,), std=(0.4,))
    ((found, labels),) = batches(in_memory(pixels), preprocessing, 1, 5, "float64")
    assert found.shape == (2, 1, 2, 2)
    assert found[0, 0] == pytest.approx(np.array([[-0.5, 0], [0.5, 1]]), abs=1e-15)
    assert found[1, 0] == pytest.approx(np.array([[1.5, 2], [0, 0]]), abs=1e-15)
    assert labels.tolist() == [0, 1]


def test_colors_become_channels():
    """In the order asked for, repeated beyond three; one channel is what Pillow takes for gray."""
    raw = spec.Preprocessing(**AS_IT_IS, scale=1.0, mean=(0.0,), std=(1.0,))
    red, green, blue = COLORED.pixels.transpose(3, 0, 1, 2)
    gray = np.stack([np.asarray(COLORED.image(i).convert("L")) for i in range(50)])
    reverse = raw.model_copy(update={"channel_order": "BGR"})
    for preprocessing, channels in (
        (raw, [red, green, blue, red, green]),
        (reverse, [blue, green, red]),
        (raw, [gray]),
    ):
        ((found, _),) = batches(COLORED, preprocessing, len(channels), 50)
        assert (found == np.stack(channels, axis=1)).all()
    ((found, _),) = batches(GRAY, raw, 3, 50)
    assert (found == GRAY.pixels[:, None]).all()


def test_images_are_contiguous_and_labels_int64():
    for dtype in ("float32", "float64"):
        for found, labels in batches(COLORED, COLORS, 3, 20, dtype):
            assert found.flags.c_contiguous
            assert found.dtype == dtype
            assert labels.dtype == np.int64


def test_they_follow_the_order_and_the_last_may_be_smaller():
    order = np.arange(50)[::-1]
    found = list(batches(GRAY, GRAYS, 1, 16, order=order))
    assert [len(labels) for _, labels in found] == [16, 16, 16, 2]
    assert np.concatenate([labels for _, labels in found]).tolist() == GRAY.labels[order].tolist()
    everything = np.concatenate([found for found, _ in batches(GRAY, GRAYS, 1, 50)])
    assert (np.concatenate([found for found, _ in found]) == everything[order]).all()


def test_the_smaller_one_may_be_dropped():
    assert [len(labels) for _, labels in batches(GRAY, GRAYS, 1, 16, drop_last=True)] == [16, 16, 16]


@pytest.mark.parametrize(
    ("count", "batch_size", "drop_last", "expected"),
    [(50, 16, False, 4), (50, 16, True, 3), (48, 16, False, 3), (48, 16, True, 3), (1, 16, False, 1)],
)
def test_how_many_there_are(count, batch_size, drop_last, expected):
    assert count_batches(count, batch_size, drop_last) == expected


class TestTheSameBits:
    @pytest.mark.parametrize("workers", [0, 1, 2, 5])
    @pytest.mark.parametrize("start", [0, 1, 6, 7])
    def test_from_any_batch_on_with_any_number_of_threads(self, workers, start):
        expected = list(batches(GRAY, **SETTINGS, workers=0))[start:]
        assert same(batches(GRAY, **SETTINGS, start=start, workers=workers), expected)

    @pytest.mark.parametrize("field", ["seed", "epoch"])
    def test_only_for_the_same_seed_and_epoch(self, field):
        other = SETTINGS | {field: SETTINGS[field] + 1}
        assert not same(batches(GRAY, **other), batches(GRAY, **SETTINGS))

    def test_a_batch_is_augmented_unlike_the_next(self):
        """All batches hold the same images, and no two are the same."""
        again = SETTINGS | {"order": np.arange(40) % 8}
        assert len({found.tobytes() for found, _ in batches(GRAY, **again)}) == 5

    @pytest.mark.parametrize("augmentation", [None, SETTINGS["augmentation"]])
    @pytest.mark.parametrize("channels", [1, 2, 3, 5])
    @pytest.mark.parametrize("dataset", [GRAY, COLORED], ids=["gray", "colored"])
    def test_all_at_once_and_through_each_image(self, dataset, channels, augmentation, tmp_path):
        files = one_by_one(dataset, tmp_path)
        places = np.argsort(np.array([int(path.stem) for path in files.paths]))
        mean = (0.1, 0.2, 0.3, 0.4, 0.5)[:channels]
        for order in ("RGB", "BGR"):
            preprocessing = spec.Preprocessing(**AS_IT_IS, mean=mean, std=mean, channel_order=order)
            rest = {"preprocessing": preprocessing, "channels": channels, "batch_size": 8, "augmentation": augmentation}
            found = batches(dataset, **rest, order=np.arange(50), seed=1)
            assert same(found, batches(files, **rest, order=places, seed=1))

    @pytest.mark.parametrize("channels", [1, 2, 3, 5])
    @pytest.mark.parametrize("fields", [{}, {"resize": None}, {"interpolation": "nearest", "channel_order": "BGR"}])
    def test_of_a_batch_and_of_images_that_are_prepared_one_by_one(self, folder, channels, fields):
        Image.new("L", (30, 50), 77).save(folder / "cat" / "gray.png")
        Image.new("RGBA", (30, 17), (1, 2, 3, 4)).save(folder / "cat" / "wide.png")
        train = image_folder(folder).train
        preprocessing = preprocessing_for(train, size=16, channels=channels, **fields)
        expected = np.stack([images.prepare(path, preprocessing) for path in train.paths])
        for dtype in ("float32", "float64"):
            found = np.concatenate([found for found, _ in batches(train, preprocessing, channels, 4, dtype)])
            assert found.dtype == dtype
            assert (found == expected.astype(dtype)).all()

    def test_with_as_many_means_as_there_are(self):
        """One mean for three channels counts three times, three for one gray channel count as their average."""
        one, three = (spec.Preprocessing(**AS_IT_IS, mean=(0.25,) * n, std=(0.5,) * n) for n in (1, 3))
        assert same(batches(COLORED, one, 3, 8), batches(COLORED, three, 3, 8))
        assert same(batches(COLORED, three, 1, 8), batches(COLORED, one, 1, 8))


def test_pixels_of_the_right_size_are_not_resized_where_a_crop_would_follow():
    """Resized to 10 and cropped to 8, they are others."""
    cropped = spec.Preprocessing(size=8, resize=10, mean=(0.25,), std=(0.5,))
    assert not same(batches(GRAY, cropped, 1, 8), batches(GRAY, GRAYS, 1, 8))
    square = spec.Preprocessing(size=8, resize=8, mean=(0.25,), std=(0.5,))
    assert same(batches(GRAY, square, 1, 8), batches(GRAY, GRAYS, 1, 8))


def test_padding_is_black_before_it_is_normalized():
    white = in_memory(np.full((20, 8, 8), 255, np.uint8))
    ((found, _),) = batches(white, GRAYS, 1, 20, augmentation=Augmentation(padding=7))
    assert set(np.unique(found)) == {np.float32((0 - 0.25) / 0.5), np.float32((1 - 0.25) / 0.5)}


def test_an_image_that_is_gone_is_named_where_its_batch_is_taken(folder):
    train = image_folder(folder).train
    train.paths[7].write_bytes(b"")
    made = batches(train, preprocessing_for(train, 16, 3), 3, batch_size=3)
    assert [len(labels) for _, labels in islice(made, 2)] == [3, 3]
    with pytest.raises(spec.SpecError) as error:
        next(made)
    assert str(error.value).startswith(f"{train.paths[7]} cannot be read as an image: ")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("densenet-data")]


def test_a_strip_that_would_take_all_memory_is_named(folder):
    """1 x 5000 pixels, the shorter side resized to 256."""
    Image.new("L", (5000, 1)).save(folder / "cat" / "strip.png")
    train = image_folder(folder).train
    (place,) = [i for i in range(len(train)) if train.source(i).endswith("strip.png")]
    with pytest.raises(spec.SpecError) as error:
        next(batches(train, spec.Preprocessing(), 3, 1, order=np.array([place])))
    path = folder / "cat" / "strip.png"
    sentence = f"{path}: resized to 1280000x256 it has more than {images.MOST_PIXELS} pixels: crop it"
    assert str(error.value) == sentence
    with pytest.raises(spec.SpecError) as error:
        images.prepare(path, spec.Preprocessing())
    assert str(error.value) == sentence


def test_leaving_early_stops_in_the_middle_of_a_batch(folder, monkeypatch):
    """Of a batch that is under way only the image in hand is finished."""
    train = image_folder(folder).train
    begun, goes_on = threading.Semaphore(0), threading.Event()
    decode = images.decode

    def held_up(path):
        if path != train.paths[0]:
            begun.release()
            goes_on.wait(60)
        return decode(path)

    monkeypatch.setattr(images, "decode", held_up)
    order = np.array([0, 0, 1, 1])
    made = batches(train, preprocessing_for(train, 16, 3), 3, 2, order=order, workers=1)
    next(made)
    begun.acquire()
    threading.Timer(0.1, goes_on.set).start()  # until when close is waiting
    made.close()
    assert not begun.acquire(blocking=False)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
        ({"batch_size": 51, "drop_last": True}, "batch_size must be at most 50, as many images as there are, found 51"),
        ({"dtype": "float16"}, "dtype must be float32 or float64, found 'float16'"),
        ({"start": -1}, "start must be at least 0, found -1"),
        ({"workers": -1}, "workers must be at least 0, found -1"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, found -1"),
        (
            {"augmentation": Augmentation(padding=8)},
            "padding must be less than the size of the images (8), found 8",
        ),
    ],
)
def test_settings_that_make_no_batches_are_refused_before_any_is_taken(settings, sentence):
    with pytest.raises(spec.SpecError) as error:
        batches(GRAY, **SETTINGS | settings)
    assert str(error.value) == sentence
