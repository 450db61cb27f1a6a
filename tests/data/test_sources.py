"""What --data takes, and how its images become the input of a network."""

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools.data import batches, image_folder, open_data, preprocessing_for
from tests.data.support import write_folder, write_idx


def refusal(*arguments, **options) -> str:
    with pytest.raises(spec.SpecError) as error:
        open_data(*arguments, **options)
    return str(error.value)


def test_fashion_mnist_by_its_name(tmp_path):
    splits = open_data("fashion-mnist", data_dir=write_idx(tmp_path, 10))
    assert splits.train.name == "fashion-mnist train"


def test_a_folder_by_its_path(tmp_path):
    splits = open_data(str(write_folder(tmp_path / "photos")))
    assert splits.test.name == f"{tmp_path}/photos/test"


def test_a_folder_of_that_name_by_a_path(tmp_path, monkeypatch):
    write_folder(tmp_path / "fashion-mnist")
    monkeypatch.chdir(tmp_path)
    assert open_data("./fashion-mnist").train.classes == ("cat", "dog", "fox")


@pytest.mark.parametrize("source", ["fashion_mnist", "Fashion-MNIST", "fashion-minst"])
def test_a_slip_of_the_pen_is_told(source):
    assert refusal(source) == f"{source!r} is no data set and no folder of images, did you mean 'fashion-mnist'?"


@pytest.mark.parametrize("source", ["photos", "", "x" * 5000, "a\0b"])
def test_what_is_not_there_is_named(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(source) == f"{source!r} is no data set and no folder of images, known: fashion-mnist"


def test_data_dir_is_for_fashion_mnist(tmp_path):
    photos = str(write_folder(tmp_path / "photos"))
    sentence = f"--data-dir is for the files of fashion-mnist: leave it out with the folder {photos}"
    assert refusal(photos, data_dir=tmp_path) == sentence


def test_skipping_goes_through(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"")
    assert "1 of 12 images" in refusal(str(tmp_path))
    with pytest.warns(spec.SpecWarning, match="1 of 12 images"):
        assert len(open_data(str(tmp_path), skip_unreadable=True).train) == 11


class TestClassesOfACheckpoint:
    def test_label_fashion_mnist_too(self, tmp_path):
        write_idx(tmp_path, 10)
        own = open_data("fashion-mnist", tmp_path).train.classes
        splits = open_data("fashion-mnist", tmp_path, classes=own[::-1])
        for part in (splits.train, splits.test):
            assert part.classes == own[::-1]
            assert part.labels.tolist() == list(range(9, -1, -1))

    def test_must_be_its_classes(self, tmp_path):
        sentence = "fashion-mnist train must have the classes of the network: missing 'cat'; unexpected 'Bag'"
        own = open_data("fashion-mnist", write_idx(tmp_path, 10)).train.classes
        assert (
            refusal("fashion-mnist", tmp_path, classes=["cat" if name == "Bag" else name for name in own]) == sentence
        )

    def test_of_a_folder(self, tmp_path):
        splits = open_data(str(write_folder(tmp_path)), classes=["fox", "dog", "cat"])
        assert splits.train.labels.tolist() == [2] * 4 + [1] * 4 + [0] * 4


class TestPreprocessing:
    def test_of_fashion_mnist_resizes_the_whole_image(self, tmp_path):
        train = open_data("fashion-mnist", write_idx(tmp_path, 10)).train
        for data in ("fashion-mnist", train):
            found = preprocessing_for(data, size=96, channels=3)
            assert (found.size, found.resize, found.interpolation) == (96, None, "bilinear")
            assert (found.mean, found.std) == ((0.2860,) * 3, (0.3530,) * 3)
            assert preprocessing_for(data, size=28, channels=1).mean == (0.2860,)

    def test_of_a_folder_is_that_of_imagenet(self, tmp_path):
        train = image_folder(write_folder(tmp_path)).train
        for data in (str(tmp_path), train):
            assert preprocessing_for(data, 224, 3) == spec.Preprocessing()
            assert preprocessing_for(data, 96, 3) == spec.Preprocessing(size=96, resize=110)  # 96 * 8 / 7 is 109.7

    def test_of_gray_is_the_average_of_the_colors(self):
        found = preprocessing_for("photos", 224, 1)
        assert found.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3], rel=1e-15)
        assert found.std == pytest.approx([(0.229 + 0.224 + 0.225) / 3], rel=1e-15)

    def test_of_gray_gives_the_values_that_three_means_give(self, tmp_path):
        train = image_folder(write_folder(tmp_path)).train
        one, three = (preprocessing_for(train, 16, channels) for channels in (1, 3))
        ((found, _),) = batches(train, one, 1, 12)
        ((expected, _),) = batches(train, three, 1, 12)
        assert (found == expected).all()

    @pytest.mark.parametrize("channels", [2, 5])
    def test_has_a_mean_for_each_channel(self, channels):
        colors = (0.485, 0.456, 0.406) * 2
        assert preprocessing_for("photos", 224, channels).mean == colors[:channels]
        assert len(preprocessing_for("fashion-mnist", 28, channels).std) == channels

    def test_is_what_the_user_says_where_he_says_so(self):
        found = preprocessing_for("photos", 28, 3, resize=None, interpolation="nearest")
        assert found == spec.Preprocessing(size=28, resize=None, interpolation="nearest")
        with pytest.raises(spec.SpecError, match=r"resize should be at least size \(28\), found 20"):
            preprocessing_for("photos", 28, 3, resize=20)


def test_a_resized_image_of_fashion_mnist_is_pillows(tmp_path):
    """Bilinear, from all of the image."""
    train = open_data("fashion-mnist", write_idx(tmp_path, 10)).train
    ((found, _),) = batches(train, preprocessing_for(train, 96, 1), 1, 10, "float64")
    resized = np.asarray(train.image(3).resize((96, 96), Image.Resampling.BILINEAR))
    assert found[3, 0] == pytest.approx((resized / 255 - 0.2860) / 0.3530, rel=1e-14, abs=1e-14)
