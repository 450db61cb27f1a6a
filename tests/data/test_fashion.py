"""Fashion-MNIST: the real one where it is installed, small ones in its format, and what is refused."""

import gzip
import hashlib

import numpy as np
import pytest

import spec
from densenet_tools.data import fashion, fashion_mnist
from tests.data.support import idx, pictures, real_fashion_mnist, write_idx

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def unpacked_digest(path):
    return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return write_idx(tmp_path / "files", 20, size=8)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine on which nothing is installed or cached, and a place to download from that has no file yet."""
    monkeypatch.setattr(fashion, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(fashion, "ADDRESS", (tmp_path / "published").as_uri())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "published").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def real():
    return real_fashion_mnist()


def test_it_has_as_many_images_of_each_class_as_is_published(real):
    """60,000 and 10,000, "7,000 images per category" (Xiao et al. 2017)."""
    assert np.bincount(real.train.labels).tolist() == [6000] * 10
    assert np.bincount(real.test.labels).tolist() == [1000] * 10
    assert real.train.pixels.shape == (60_000, 28, 28)
    assert real.test.pixels.shape == (10_000, 28, 28)


def test_its_mean_and_deviation_are_those_in_use(real):
    """0.2860 and 0.3530, to the digits in which they are quoted."""
    counts, levels = np.bincount(real.train.pixels.ravel(), minlength=256), np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    assert round(mean, 4) == fashion.MEAN == 0.2860
    assert round(np.average((levels - mean) ** 2, weights=counts) ** 0.5, 4) == fashion.STD == 0.3530


def test_its_labels_are_in_the_published_order(real):
    """As TensorFlow's tutorial on classification prints them: [9, 0, 0, ..., 3, 0, 5], and 9 is an ankle boot."""
    assert real.train.labels[[0, 1, 2, -3, -2, -1]].tolist() == [9, 0, 0, 3, 0, 5]
    assert real.test.labels[0] == 9
    assert real.train.classes[9] == "Ankle boot"


def test_the_installed_files_unpack_to_the_digests(real):
    for part in fashion.PARTS.values():
        for name, digest in part.items():
            assert unpacked_digest(fashion.INSTALLED / f"{name}.gz") == digest


def test_files_of_a_folder_are_read_packed_or_not(folder):
    splits = fashion_mnist(folder)
    assert (splits.train.name, splits.test.name) == ("fashion-mnist train", "fashion-mnist test")
    assert len(splits.train) == len(splits.test) == 20
    assert splits.train.labels.tolist() == [*range(10), *range(10)]
    assert splits.train.labels.dtype == np.int64
    assert (splits.train.pixels == pictures(np.arange(20) % 10, 8, seed=0)).all()
    assert splits.test.source(17) == "image 17 of fashion-mnist test"
    assert (np.asarray(splits.test.image(17)) == splits.test.pixels[17]).all()


def test_an_image_of_a_subset_is_named_by_its_place_in_the_whole(folder):
    part = fashion_mnist(folder).train.subset(np.array([3, 17]))
    assert len(part) == 2
    assert part.source(1) == "image 17 of fashion-mnist train"
    assert part.labels.tolist() == [3, 7]
    assert (part.pixels[1] == fashion_mnist(folder).train.pixels[17]).all()


@pytest.mark.parametrize("name", FILES)
def test_each_of_the_four_files_must_be_there(folder, name):
    for path in folder.glob(f"{name}*"):
        path.unlink()
    with pytest.raises(spec.SpecError) as error:
        fashion_mnist(folder)
    sentence = f"{folder} should hold the four files of Fashion-MNIST, neither {name} nor {name}.gz is there"
    assert str(error.value) == sentence


def test_labels_must_be_of_the_ten_classes_and_as_many_as_images(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.array([*range(10), *range(9), 10])))  # goes before the packed one
    with pytest.raises(spec.SpecError) as error:
        fashion_mnist(folder)
    assert str(error.value) == f"{path} should hold labels from 0 to 9, found 10"
    path.write_bytes(idx(np.arange(9)))
    with pytest.raises(spec.SpecError) as error:
        fashion_mnist(folder)
    assert str(error.value) == f"{path} should hold 20 labels, one for each image, found 9"


def test_what_is_not_there_is_downloaded_once(nowhere, folder, monkeypatch):
    for name in FILES:
        path = fashion._file(folder, name)
        content = path.read_bytes() if path.suffix == ".gz" else gzip.compress(path.read_bytes())
        (nowhere / "published" / f"{name}.gz").write_bytes(content)
    parts = {
        part: {name: unpacked_digest(nowhere / "published" / f"{name}.gz") for name in names}
        for part, names in fashion.PARTS.items()
    }
    monkeypatch.setattr(fashion, "PARTS", parts)
    assert len(fashion_mnist().train) == 20
    cache = nowhere / "cache" / "densenet-reference" / "fashion-mnist"
    assert {path.name for path in cache.iterdir()} == {f"{name}.gz" for name in FILES}
    for path in (nowhere / "published").iterdir():
        path.unlink()
    assert len(fashion_mnist().test) == 20


def test_without_a_network_one_sentence_says_how_to_get_it(nowhere):
    with pytest.raises(spec.SpecError) as error:
        fashion_mnist()
    address = f"{fashion.ADDRESS}/train-images-idx3-ubyte.gz"
    assert str(error.value) == (
        f"Fashion-MNIST is not on this machine, and {address} cannot be read (No such file or directory): "
        "apt install dataset-fashion-mnist, or name a folder that holds its four files with --data-dir, "
        "or try again with a network"
    )
    assert not (nowhere / "cache").exists()
