"""`densenet predict`, as it is typed: the likeliest classes by name, of photographs and of data sets."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import images
from spec import reference
from tests.data.support import write_folder, write_idx
from tests.support import FRAMEWORKS, loaded, require
from tests.trained import CLASSES, COUNT, done, refused, save, warned

NUMPY = ("--backend", "numpy")
TEST = len(CLASSES) * COUNT  # images


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    """What a command prints for programs."""
    return json.loads(
        done(capsys, "predict", *argv, "--json"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )


def photograph(name: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: Any) -> str:
    """Left half dark, right half light, in a file."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, size[0] // 2 :] = 220
    Image.fromarray(pixels).convert(mode).save(name, **options)
    return name


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS, "mxnet:static"])
def test_probabilities_are_those_of_the_logits(place, capsys, name):
    """The softmax of what the reference makes of each photograph, prepared by itself; largest first."""
    require(name.partition(":")[0])
    given = spec.open("run/best.safetensors")
    model = loaded(reference, given.network, given.weights)
    files = [photograph("a.png"), photograph("b.jpg", size=(30, 60)), "pictures/test/fox/1.png"]
    found = told(capsys, "run", *files, "--backend", name)
    assert [each["image"] for each in found] == files
    for file, each in zip(files, found, strict=True):
        (logits,) = reference.predict(model, images.prepare(Path(file), given.preprocessing).astype(np.float32)[None])
        shares = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum()
        order = np.argsort(-shares)
        assert [guess["class"] for guess in each["predicted"]] == [CLASSES[i] for i in order]
        assert [guess["probability"] for guess in each["predicted"]] == pytest.approx(shares[order], abs=1e-5)


def test_the_table_says_what_the_json_says(place, capsys):
    files = [photograph("a.png"), photograph("b.png", "L")]
    out = done(capsys, "predict", "run", *files, *NUMPY)
    assert out.splitlines()[0].rstrip() == "tiny in numpy"
    for each in told(capsys, "run", *files, *NUMPY):
        guesses = [word for guess in each["predicted"] for word in (guess["class"], f"{guess['probability']:.3f}")]
        assert [each["image"], *guesses] in rows(out)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "L"), ("a.png", "1"), ("a.png", "P"), ("a.png", "RGBA"), ("a.gif", "P"), ("a.bmp", "L")],
)
def test_photographs_may_have_any_colors(place, capsys, name, mode):
    """A gray picture gives the same in each way to store it: all of these are exact."""
    gray = photograph("gray.png", "1")
    Image.open(gray).convert("RGB").convert(mode).save(name)
    one, other = told(capsys, "run", gray, name, *NUMPY)
    assert one["predicted"] == other["predicted"]


def test_a_photograph_is_seen_as_its_camera_was_held(place, capsys):
    """Stored on its side, with a note in its EXIF data that says so (orientation 6: turned a quarter to the left)."""
    upright = photograph("upright.png", size=(60, 40))
    turned = Image.open(upright).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save("turned.png", exif=exif)
    turned.save("without.png")
    one, other, without = told(capsys, "run", upright, "turned.png", "without.png", *NUMPY)
    assert one["predicted"] == other["predicted"] != without["predicted"]


def test_a_true_class_is_that_of_the_folder_where_it_is_one(place, capsys):
    photograph("elsewhere.png")
    found = told(capsys, "run", "pictures/test/dog/0.png", "elsewhere.png", *NUMPY)
    assert [each["true"] for each in found] == ["dog", None]
    out = done(capsys, "predict", "run", "pictures/test/dog/0.png", "elsewhere.png", *NUMPY)
    assert "true class" in out
    assert ["elsewhere.png", "-"] in [row[:2] for row in rows(out)]
    assert "true class" not in done(capsys, "predict", "run", "elsewhere.png", *NUMPY)
    run = (place / "run").resolve()
    os.chdir("pictures/test/dog")
    assert told(capsys, str(run), "0.png", *NUMPY)[0]["true"] == "dog"


def test_of_a_data_set_the_first_images_are_taken(place, capsys):
    found = told(capsys, "run", "--data", "pictures", "--count", "6", *NUMPY)
    assert [(each["image"], each["true"]) for each in found] == [
        (f"pictures/test/{name}/{i}.png", name) for name, i in [*(("cat", i) for i in range(4)), ("dog", 0), ("dog", 1)]
    ]
    assert len(told(capsys, "run", "--data", "pictures", *NUMPY)) == TEST, "where there are no more"


def test_of_many_classes_the_five_likeliest_are_shown(place, capsys):
    write_idx(place / "idx", 20)
    network = spec.load("tiny.toml", num_classes=10, in_channels=1)
    spec.save("ten.safetensors", network, spec.initialize(network, 0))
    argv = ["predict", "ten.safetensors", "--data", "fashion-mnist", "--data-dir", "idx", "--count", "2", *NUMPY]
    out, said = warned(capsys, *argv, "--json")
    first, second = json.loads(out)
    assert (first["image"], first["true"]) == ("image 0 of fashion-mnist test", "T-shirt/top")
    shares = [guess["probability"] for guess in second["predicted"]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    assert said == [
        "ten.safetensors does not say how images are prepared for it: that is done as is usual for fashion-mnist",
        "ten.safetensors does not name its classes: they are taken for those of fashion-mnist test, in its order",
    ]


def test_without_names_classes_have_numbers_but_for_those_of_a_data_set(place, capsys):
    save("without.safetensors", classes=None)
    (found,) = told(capsys, "without.safetensors", photograph("a.png"), *NUMPY)
    assert {guess["class"] for guess in found["predicted"]} == {"class 0", "class 1", "class 2"}
    out, (said,) = warned(capsys, "predict", "without.safetensors", "--data", "pictures", *NUMPY, "--json")
    assert "does not name its classes" in said
    assert json.loads(out) == told(capsys, "run", "--data", "pictures", *NUMPY)


def test_a_softmax_changes_nothing(place, capsys):
    save("soft.safetensors", network=spec.load("tiny.toml", num_classes=3, classifier_activation="softmax"))
    found = [told(capsys, each, photograph("a.png"), *NUMPY)[0]["predicted"] for each in ("run", "soft.safetensors")]
    one, other = ({guess["class"]: guess["probability"] for guess in each} for each in found)
    assert one == pytest.approx(other, abs=1e-6)


def test_a_grid_is_drawn_with_and_without_true_classes(place, capsys):
    pytest.importorskip("matplotlib")
    for name, argv in {
        "known.svg": ["--data", "pictures", "--count", "10"],
        "unknown.svg": [photograph("a.png")],
        "some.svg": ["a.png", "pictures/test/cat/0.png"],
    }.items():
        out = done(capsys, "predict", "run", *argv, "--grid", name, *NUMPY)
        assert out.endswith(f"written: {name}\n")
        drawn = (place / name).read_text()
        assert ("first line: true class" in drawn) == (name == "known.svg")
        assert any(f"<!-- {mark}{each} -->" in drawn for each in CLASSES for mark in ("", "✓ ", "✗ "))


def test_with_json_nothing_else_is_printed(place, capsys):
    pytest.importorskip("matplotlib")
    assert len(told(capsys, "run", photograph("a.png"), "--grid", "grid.png", *NUMPY)) == 1
    assert (place / "grid.png").exists()


def test_images_that_are_none_are_refused(place, capsys):
    (place / "text.png").write_text("no picture")
    (place / "cut.png").write_bytes((place / photograph("whole.png")).read_bytes()[:60])
    os.mkfifo("pipe.png")
    argv = ["predict", "run", *NUMPY]
    assert refused(capsys, *argv, "none.png") == "image none.png does not exist"
    assert refused(capsys, *argv, "text.png").startswith("text.png cannot be read as an image: ")
    assert refused(capsys, *argv, "cut.png").startswith("cut.png cannot be read as an image: ")
    assert refused(capsys, *argv, "pictures") == "pictures cannot be read as an image: it is not a file"
    assert refused(capsys, *argv, "pipe.png") == "pipe.png cannot be read as an image: it is not a file"


def test_weights_that_give_nothing_finite_are_refused(place, capsys):
    require("torch")
    weights = spec.open("run/best.safetensors").weights
    save("huge.safetensors", weights={name: array * np.float32(1e30) for name, array in weights.items()})
    assert refused(capsys, "predict", "huge.safetensors", photograph("a.png")) == (
        "huge.safetensors gives outputs that are not finite for a.png: check its weights"
    )


def test_other_classes_are_refused(place, capsys):
    write_folder(place / "other", ["cat", "dog", "eel"], count=1)
    assert refused(capsys, "predict", "run", "--data", "other", *NUMPY) == (
        "other/train must have the classes of the network: missing 'fox'; unexpected 'eel'"
    )


def test_no_image_is_drawn_over(place, capsys):
    """Not even one that is beyond --count."""
    pytest.importorskip("matplotlib")
    shutil.copytree("pictures", "mine")
    mine = photograph("mine.png")
    for name, argv in {mine: [mine], "mine/test/fox/3.png": ["--data", "mine", "--count", "1"]}.items():
        before = (place / name).read_bytes()
        assert refused(capsys, "predict", "run", *argv, "--grid", name, *NUMPY) == (
            f"--grid {name} is a file that is read: name another one"
        )
        assert (place / name).read_bytes() == before


NAMES = {
    "[red]a.png": "[red]a.png",
    "a\x1b[31m\x07.png": r"a\x1b[31m\x07.png",
    "a\nb.png": r"a\nb.png",
    "$x$ é.png": "$x$ é.png",
    os.fsdecode(b"\xff.png"): r"\udcff.png",
}


@pytest.mark.parametrize("name", NAMES, ids=NAMES.values())
def test_a_file_may_have_any_name(place, capsys, name):
    photograph("a.png")
    os.rename("a.png", name)
    out = done(capsys, "predict", "run", name, *NUMPY)
    assert any(line.strip().startswith(f"{NAMES[name]}  ") for line in out.splitlines())
    assert told(capsys, "run", name, *NUMPY)[0]["image"] == name


def test_classes_may_have_any_name_in_tables_and_pictures(place, capsys):
    pytest.importorskip("matplotlib")
    classes = ["[red]cat", "$x^2$", "<b>&"]
    save("any.safetensors", classes=classes)
    out = done(capsys, "predict", "any.safetensors", photograph("a.png"), "--grid", "grid.svg", *NUMPY)
    assert all(name in out for name in classes)
