"""`densenet evaluate`, as it is typed: the same figures in every backend, of a run or a file, in the file's order."""

import json
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

RUNNERS = ["numpy", *FRAMEWORKS, "mxnet:static"]
TEST = len(CLASSES) * COUNT  # images
WITHOUT = "without.safetensors"  # names of its classes


def checkpoint() -> spec.Checkpoint:
    return spec.open("run/best.safetensors")


def found(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """What a command writes for programs."""
    done(capsys, "evaluate", *argv, "--json", "found.json")
    return json.loads(Path("found.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_figures_are_those_of_the_logits(place, capsys):
    """Each image prepared by itself, and what the reference makes of it counted one by one."""
    given = checkpoint()
    model = loaded(reference, given.network, given.weights)
    losses, right, taken = [], 0, np.zeros((3, 3), int)
    for label, name in enumerate(CLASSES):
        for path in sorted((place / "pictures/test" / name).iterdir()):
            image = images.prepare(path, given.preprocessing).astype(np.float32)
            (logits,) = reference.predict(model, image[None]).astype(np.float64)
            losses.append(np.log(np.exp(logits).sum()) - logits[label])
            right += logits.argmax() == label
            taken[label, logits.argmax()] += 1
    assert taken.diagonal().sum() not in (0, TEST)
    report = found(capsys, "run", "--data", "pictures", "--backend", "numpy")
    assert report["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert report["accuracy"] == right / TEST
    assert report["confusion"] == taken.tolist()
    assert report["support"] == [COUNT] * 3
    assert report["recall"] == (taken.diagonal() / COUNT).tolist()
    assert (report["count"], report["top5"]) == (TEST, None)
    assert {name: report[name] for name in ("network", "backend", "data", "classes")} == {
        **{"network": "tiny", "backend": "numpy", "data": "pictures/test"},
        "classes": list(CLASSES),
    }


def test_the_tables_say_what_the_report_says(place, capsys):
    out = done(capsys, "evaluate", "run", "--data", "pictures", "--backend", "numpy")
    report = found(capsys, "run", "--data", "pictures", "--backend", "numpy")
    assert out.splitlines()[0].rstrip() == "tiny in numpy on pictures/test"
    assert ["loss", f"{report['loss']:.4f}", "accuracy", f"{report['accuracy']:.4f}", f"{TEST}", "images"] in rows(out)
    for i, name in enumerate(CLASSES):
        shares = [report[share][i] for share in ("precision", "recall")]
        assert [name, str(COUNT), *("-" if share is None else f"{share:.4f}" for share in shares)] in rows(out)
        assert [str(i), name, *(str(count) for count in report["confusion"][i] if count)] in rows(out)


@pytest.mark.parametrize("name", RUNNERS)
def test_every_backend_finds_the_same(place, capsys, name):
    require(name.partition(":")[0])
    report = found(capsys, "run", "--data", "pictures", "--backend", name, "--batch-size", "5")
    reference_report = found(capsys, "run", "--data", "pictures", "--backend", "numpy")
    assert report.pop("backend") == name
    assert report.pop("loss") == pytest.approx(reference_report["loss"], rel=1e-5)
    assert report == {figure: reference_report[figure] for figure in report}


def test_a_run_is_its_best_weights(place, capsys):
    """Those that validation found most accurate."""
    argv = ["--data", "pictures", "--backend", "numpy"]
    assert found(capsys, "run", *argv) == found(capsys, "run/best.safetensors", *argv)
    epochs = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    best = max(epochs, key=lambda epoch: epoch["validation_accuracy"])
    assert found(capsys, "run", *argv)["loss"] == pytest.approx(best["validation_loss"], rel=1e-5)


def test_of_ten_classes_the_five_likeliest_are_counted(place, capsys):
    write_idx(place / "idx", 20)
    argv = ["--data", "fashion-mnist", "--data-dir", "idx", "--backend", "numpy"]
    network = spec.load("tiny.toml", num_classes=10, in_channels=1)
    spec.save("ten.safetensors", network, spec.initialize(network, 0))
    out, said = warned(capsys, "evaluate", "ten.safetensors", *argv, "--json", "found.json")
    report = json.loads(Path("found.json").read_text())
    assert len(said) == 2
    assert report["accuracy"] < report["top5"] < 1
    assert f"top-5 {report['top5']:.4f}  20 images" in out
    assert report["classes"][:2] == ["T-shirt/top", "Trouser"]


def test_all_images_are_taken_where_none_are_kept_to_test_on(place, capsys):
    argv = ["--backend", "numpy"]
    parts = found(capsys, "run", "--data", "pictures", *argv)
    shutil.copytree("pictures/test", "flat")
    assert found(capsys, "run", "--data", "flat", *argv) == parts | {"data": "flat"}
    (place / "only").mkdir()
    shutil.copytree("pictures/test", "only/test")
    assert found(capsys, "run", "--data", "only", *argv) == parts | {"data": "only/test"}


def test_classes_are_in_the_order_of_the_file(place, capsys):
    """The same outputs, said to be of other classes: whose images they are is told by name."""
    turned = save("turned.safetensors", classes=["dog", "fox", "cat"])
    argv = ["--data", "pictures", "--backend", "numpy"]
    before, after = found(capsys, "run", *argv), found(capsys, turned, *argv)
    assert after["classes"] == ["dog", "fox", "cat"]
    true = [CLASSES.index(name) for name in after["classes"]]
    assert after["confusion"] == np.array(before["confusion"])[true].tolist()


def test_a_file_that_names_no_classes_takes_those_of_the_data_and_says_so(place, capsys):
    save(WITHOUT, classes=None)
    out, said = warned(capsys, "evaluate", WITHOUT, "--data", "pictures", "--backend", "numpy")
    assert said == [f"{WITHOUT} does not name its classes: they are taken for those of pictures/test, in its order"]
    assert out == done(capsys, "evaluate", "run", "--data", "pictures", "--backend", "numpy")


def test_a_file_that_does_not_say_how_images_are_prepared_takes_what_is_usual_and_says_so(place, capsys):
    save("usual.safetensors", preprocessing=None)
    out, said = warned(capsys, "evaluate", "usual.safetensors", "--data", "pictures", "--backend", "numpy")
    assert said == [
        "usual.safetensors does not say how images are prepared for it: that is done as is usual for photographs"
    ]
    assert out == done(capsys, "evaluate", "run", "--data", "pictures", "--backend", "numpy")


def test_a_softmax_changes_nothing(place, capsys):
    network = spec.load("tiny.toml", num_classes=3, classifier_activation="softmax")
    save("soft.safetensors", network=network)
    argv = ["--data", "pictures", "--backend", "numpy"]
    logits, probabilities = found(capsys, "run", *argv), found(capsys, "soft.safetensors", *argv)
    assert probabilities.pop("loss") == pytest.approx(logits["loss"], rel=1e-4)
    assert probabilities == {figure: logits[figure] for figure in probabilities}


def test_other_classes_are_refused(place, capsys):
    write_folder(place / "other", ["cat", "dog", "eel"], count=1)
    write_folder(place / "two", ["cat", "dog"], count=1)
    save(WITHOUT, classes=None)
    argv = ["--backend", "numpy", "--data"]
    assert refused(capsys, "evaluate", "run", *argv, "other") == (
        "other/train must have the classes of the network: missing 'fox'; unexpected 'eel'"
    )
    assert refused(capsys, "evaluate", WITHOUT, *argv, "two") == (
        f"two/test has 2 classes, {WITHOUT} tells 3 apart, without names: name other data"
    )


def test_weights_that_give_nothing_finite_are_refused(place, capsys):
    huge = {name: array * np.float32(1e30) for name, array in checkpoint().weights.items()}
    save("huge.safetensors", weights=huge)
    require("torch")
    assert refused(capsys, "evaluate", "huge.safetensors", "--data", "pictures") == (
        "logits must be finite, found others at image 0 of the batch: check the weights"
    )


def test_unreadable_images_are_left_out_where_that_is_wished(place, capsys):
    shutil.copytree("pictures", "bad")
    (place / "bad/test/cat/0.png").write_bytes(b"no picture")
    argv = ["evaluate", "run", "--data", "bad", "--backend", "numpy"]
    assert "1 of 12 images in bad/test cannot be read: bad/test/cat/0.png" in refused(capsys, *argv)
    out, (said,) = warned(capsys, *argv, "--skip-unreadable")
    assert said.startswith("1 of 12 images in bad/test cannot be read and are left out: bad/test/cat/0.png")
    assert "11 images" in out


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_confusions_are_drawn(place, capsys, theme):
    pytest.importorskip("matplotlib")
    argv = ["--data", "pictures", "--backend", "numpy", "--plot", "confusion.png", "--theme", theme]
    assert done(capsys, "evaluate", "run", *argv).endswith("written: confusion.png\n")
    with Image.open("confusion.png") as picture:
        assert picture.width == 1660
        assert picture.convert("RGB").getpixel((0, 0)) == {"light": (255, 255, 255), "dark": (13, 17, 23)}[theme]


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_no_image_is_written_over(place, capsys, option):
    """Not even by a link to it, where a folder is named in another way."""
    pytest.importorskip("matplotlib")
    shutil.copytree("pictures", "mine")
    image = place / "mine/test/cat/0.png"
    (place / "link.png").symlink_to(image)
    before = image.read_bytes()
    for name in ("mine/test/cat/0.png", "link.png"):
        argv = ["evaluate", "run", "--data", "./mine", "--backend", "numpy", option, name]
        assert refused(capsys, *argv) == f"{option} {name} is a file that is read: name another one"
    assert image.read_bytes() == before


def test_no_file_of_fashion_mnist_is_written_over(place, capsys):
    write_idx(place / "idx", 20)
    network = spec.load("tiny.toml", num_classes=10, in_channels=1)
    spec.save("ten.safetensors", network, spec.initialize(network, 0), spec.Preprocessing(mean=[0.5], std=[1.0]))
    name = "idx/t10k-images-idx3-ubyte"
    argv = ["--data", "fashion-mnist", "--data-dir", "idx", "--backend", "numpy", "--json", name]
    assert (
        refused(capsys, "evaluate", "ten.safetensors", *argv)
        == f"--json {name} is a file that is read: name another one"
    )


def test_the_name_of_a_folder_does_not_color_a_terminal(place, capsys):
    shutil.copytree("pictures", "[red]\x1b[31m")
    out = done(capsys, "evaluate", "run", "--data", "[red]\x1b[31m", "--backend", "numpy")
    assert out.splitlines()[0].rstrip() == r"tiny in numpy on [red]\x1b[31m/test"
