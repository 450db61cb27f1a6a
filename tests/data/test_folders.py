"""Folders of images: which are taken, of which class, and what is refused."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools.data import image_folder
from tests.data.support import write_folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "photos"


def picture(path, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return path


def refusal(folder, **options) -> str:
    with pytest.raises(spec.SpecError) as error:
        image_folder(folder, **options)
    return str(error.value)


def sources(dataset) -> list[str]:
    return [dataset.source(i).removeprefix(f"{dataset.name}/") for i in range(len(dataset))]


def test_classes_are_in_the_order_of_their_names_and_images_too(folder):
    splits = image_folder(write_folder(folder, ("fox", "cat"), count=2))
    assert (splits.train.name, splits.test.name) == (f"{folder}/train", f"{folder}/test")
    for part in (splits.train, splits.test):
        assert part.classes == ("cat", "fox")
        assert sources(part) == ["cat/0.png", "cat/1.png", "fox/0.png", "fox/1.png"]
        assert part.labels.tolist() == [0, 0, 1, 1]
        assert part.labels.dtype == np.int64


def test_without_parts_all_is_there_to_train_on(folder):
    splits = image_folder(write_folder(folder, parts=()))
    assert splits.test is None
    assert splits.train.name == str(folder)
    assert splits.train.classes == ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("parts", "train", "test"),
    [
        (["train"], "train", None),
        (["test"], None, "test"),
        (["val"], None, "val"),
        (["train", "val"], "train", "val"),
        (["train", "test"], "train", "test"),
    ],
)
def test_one_part_may_be_missing_and_val_stands_in_for_test(folder, parts, train, test):
    splits = image_folder(write_folder(folder, parts=parts))
    assert [part and part.name for part in (splits.train, splits.test)] == [
        name and f"{folder}/{name}" for name in (train, test)
    ]


def test_of_val_and_test_the_second_is_taken_and_the_first_mentioned(folder):
    with pytest.warns(spec.SpecWarning) as warned:
        splits = image_folder(write_folder(folder, parts=["train", "val", "test"]))
    assert splits.test.name == f"{folder}/test"
    assert [str(each.message) for each in warned] == [f"{folder}/val is left aside: {folder}/test is there to test on"]
    assert warned[0].filename == __file__


def test_folders_below_a_class_belong_to_it_and_hidden_files_to_nothing(folder):
    write_folder(folder, count=1, parts=())
    picture(folder / "cat" / "indoors" / "sofa" / "2.png")
    picture(folder / "cat" / "indoors" / "1.JPEG")
    picture(folder / "cat" / ".3.png")
    picture(folder / "cat" / ".trash" / "4.png")
    picture(folder / ".git" / "5.png")
    assert sources(image_folder(folder).train) == [
        "cat/0.png",
        "cat/indoors/1.JPEG",
        "cat/indoors/sofa/2.png",
        "dog/0.png",
        "fox/0.png",
    ]


def test_images_of_every_mode_and_size_are_gray_or_rgb(folder):
    write_folder(folder, count=1, parts=())
    modes = {"1": "RGB", "L": "L", "LA": "RGB", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "I;16": "L"}
    for i, mode in enumerate(modes):
        Image.new(mode, (3 + i, 5)).save(folder / "cat" / f"{i + 1}.png")
    Image.new("CMYK", (3, 5)).save(folder / "cat" / "8.jpg")
    train = image_folder(folder).train
    assert [train.image(i).mode for i in range(1, 9)] == [*modes.values(), "RGB"]
    assert [train.image(i).width for i in range(1, 8)] == [3, 4, 5, 6, 7, 8, 9]


def test_a_photograph_is_as_its_camera_was_held(folder):
    write_folder(folder, count=1, parts=())
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: a quarter turn
    Image.new("L", (3, 5)).save(folder / "cat" / "1.jpg", exif=exif)
    assert image_folder(folder).train.image(1).size == (5, 3)


def test_files_that_are_no_images_by_name_are_left_aside_and_mentioned(folder):
    write_folder(folder, count=1, parts=())
    for name in ("cat/notes.txt", "cat/Thumbs.db", "dog/no suffix", "fox/labels.csv", "beside.txt", "beside.png"):
        (folder / name).write_bytes(b"x")
    with pytest.warns(spec.SpecWarning) as warned:
        assert len(image_folder(folder).train) == 3
    assert [str(each.message) for each in warned] == [
        f"4 files in {folder} are left aside, their names end in no image format's: "
        f"{folder}/cat/Thumbs.db, {folder}/cat/notes.txt, {folder}/dog/no suffix and 1 more"
    ]


class TestClassesThatAreGiven:
    """Such as those that a checkpoint remembers."""

    def test_give_the_labels(self, folder):
        write_folder(folder, count=1)
        splits = image_folder(folder, classes=["fox", "cat", "dog"])
        for part in (splits.train, splits.test):
            assert part.classes == ("fox", "cat", "dog")
            assert [(part.source(i)[-9:-6], part.labels[i]) for i in range(3)] == [("cat", 1), ("dog", 2), ("fox", 0)]

    @pytest.mark.parametrize(
        ("classes", "difference"),
        [
            (["cat", "dog", "hen"], "missing 'hen'; unexpected 'fox'"),
            (["cat", "dog"], "unexpected 'fox'"),
            (["cat", "dog", "fox", "p", "q", "r", "s"], "missing 'p', 'q', 'r' and 1 more"),
            (["cat", "dog", "fox", "fox"], "a name stands twice"),
        ],
    )
    def test_must_be_its_own(self, folder, classes, difference):
        write_folder(folder, count=1, parts=())
        assert refusal(folder, classes=classes) == f"{folder} must have the classes of the network: {difference}"


class TestRefused:
    def test_no_folder(self, folder):
        assert refusal(folder) == f"{folder} does not exist"
        folder.write_bytes(b"")
        assert refusal(folder) == f"{folder} is not a folder"

    def test_a_folder_without_classes(self, folder):
        picture(folder / "1.png")
        expected = f"{folder} holds no folders: images are expected in a folder for each class ({folder}/cat/1.jpg)"
        assert refusal(folder) == expected

    def test_a_part_without_classes(self, folder):
        write_folder(folder, parts=["train"])
        picture(folder / "test" / "1.png")
        assert refusal(folder).startswith(f"{folder}/test holds no folders: ")

    def test_one_class(self, folder):
        write_folder(folder, ["cat"], parts=())
        assert refusal(folder) == f"{folder} holds one class only, 'cat': two or more are expected"

    def test_a_class_that_is_a_file(self, folder):
        write_folder(folder, ["cat"], parts=())
        (folder / "dog").write_bytes(b"")
        assert refusal(folder) == f"{folder} holds one class only, 'cat': two or more are expected"

    @pytest.mark.parametrize("name", ["bird", "x.png"])
    def test_a_class_without_images(self, folder, name):
        write_folder(folder)
        (folder / "train" / name).mkdir()
        picture(folder / "test" / name / "1.png")
        assert refusal(folder) == f"{folder}/train has no images of '{name}': add some, or remove the folder"

    def test_parts_with_other_classes(self, folder):
        write_folder(folder, ["cat", "dog"], parts=["train"])
        write_folder(folder, ["cat", "dgo"], parts=["test"])
        assert refusal(folder) == (
            f"{folder}/test must have the classes of {folder}/train: missing 'dog'; unexpected 'dgo'"
        )

    def test_parts_beside_classes(self, folder):
        """Each might be meant: a train is a class of several data sets."""
        write_folder(folder, ["train", "bus", "car"], parts=())
        assert refusal(folder) == (
            f"{folder} holds train beside other folders (bus, car): "
            "it should hold the classes, or train and test, which hold the classes"
        )

    def test_a_class_whose_name_cannot_be_printed(self, folder):
        write_folder(folder, ["cat", "d\nog"], parts=())
        assert refusal(folder) == f"{folder} holds the class 'd\\nog', whose name cannot be printed: rename it"

    @pytest.mark.parametrize(("function", "place"), [("listdir", ""), ("scandir", "/cat")])
    def test_a_folder_that_cannot_be_listed(self, folder, monkeypatch, function, place):
        """As the system says it to all but root."""
        write_folder(folder, parts=())
        allowed = getattr(os, function)

        def denied(path):
            if str(path) == f"{folder}{place}":
                raise PermissionError(13, "Permission denied", str(path))
            return allowed(path)

        monkeypatch.setattr(os, function, denied)
        assert refusal(folder) == f"{folder}{place} cannot be listed: Permission denied"


class TestLinks:
    def test_are_followed(self, folder, tmp_path):
        write_folder(folder, count=1, parts=())
        picture(tmp_path / "elsewhere" / "1.png")
        (folder / "hen").symlink_to(tmp_path / "elsewhere")
        (folder / "cat" / "9.png").symlink_to(tmp_path / "elsewhere" / "1.png")
        assert sources(image_folder(folder).train) == ["cat/0.png", "cat/9.png", "dog/0.png", "fox/0.png", "hen/1.png"]

    def test_in_a_circle_end(self, folder):
        write_folder(folder, count=1, parts=())
        (folder / "cat" / "again").symlink_to(folder / "cat")
        assert sources(image_folder(folder).train) == ["cat/0.png", "dog/0.png", "fox/0.png"]

    @pytest.mark.parametrize("target", [".", ".."])
    def test_to_what_is_around_the_classes_do_not_make_all_images_of_one_class(self, folder, target):
        write_folder(folder, count=1, parts=())
        picture(folder.parent / "beside" / "1.png")
        (folder / "cat" / "up").symlink_to((folder / target).resolve())
        assert sources(image_folder(folder).train) == ["cat/0.png", "dog/0.png", "fox/0.png"]

    def test_a_class_that_is_the_folder_itself_has_no_images(self, folder):
        write_folder(folder, parts=())
        (folder / "all").symlink_to(folder)
        assert refusal(folder) == f"{folder} has no images of 'all': add some, or remove the folder"

    def test_to_nothing_and_to_themselves_are_images_that_cannot_be_read(self, folder):
        write_folder(folder, count=1, parts=())
        (folder / "cat" / "gone.png").symlink_to(folder / "nowhere")
        (folder / "dog" / "self.png").symlink_to(folder / "dog" / "self.png")
        assert refusal(folder) == (
            f"2 of 5 images in {folder} cannot be read: {folder}/cat/gone.png (No such file or directory), "
            f"{folder}/dog/self.png (Too many levels of symbolic links); "
            "replace or remove them, or leave them out with --skip-unreadable"
        )


def test_an_image_whose_name_cannot_be_printed_is_read_and_named(folder):
    write_folder(folder, count=1, parts=())
    name = os.fsdecode(b"caf\xe9\n.png")
    picture(folder / "cat" / name)
    train = image_folder(folder).train
    assert train.source(1) == f"{folder}/cat/{name}"
    (folder / "cat" / name).write_bytes(b"")
    assert name in refusal(folder)


def test_what_pillow_warns_of_is_not_said_again_while_images_are_read(folder):
    """A warning for each bomb of an epoch would be one too many; under pytest it would be an error."""
    write_folder(folder, count=1, parts=())
    Image.new("L", (9500, 9500)).save(folder / "cat" / "large.png")  # 90 million pixels, Pillow warns above 89
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(folder / "cat" / "large.png").close()
    with warnings.catch_warnings(record=True) as warned:
        train = image_folder(folder).train
        assert train.image(1).size == (9500, 9500)
    assert not warned
