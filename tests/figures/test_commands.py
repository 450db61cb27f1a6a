"""`densenet plot` and `densenet heatmap`, as a user meets them."""

import json

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools.commands.heatmap import heatmap
from densenet_tools.commands.plot import plot
from densenet_tools.figures import canvas
from tests.cases import small
from tests.figures.test_logs import EPOCH, STEP, write

pytest.importorskip("matplotlib")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with two runs, and files of a DenseNet and of another network."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        write(tmp_path / name, [EPOCH], [STEP, STEP | {"step": 2, "epoch": 1.0}])
    for network in (small(bn_size=4), spec.variant("lenet")):
        spec.save(f"{network.name}.safetensors", network, spec.initialize(network, 0))
    return tmp_path


def test_plot_draws_runs_into_one_picture(folder, capsys):
    assert plot(folder / "one", folder / "two") == 0
    assert capsys.readouterr().out == "written: curves.png\n"
    with Image.open("curves.png") as picture:
        assert picture.width == 1660
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert plot(folder / "one", out=folder / "dark.png", theme="dark") == 0
    with Image.open("dark.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (13, 17, 23)
    assert plot(folder / "one", out=folder / "curves.svg") == 0
    assert "<!-- one -->" in (folder / "curves.svg").read_text()


def test_folders_of_one_name_are_told_apart(folder):
    write(folder / "other", [], [])
    (folder / "one").rename(folder / "other" / "two")
    plot((folder / "two").relative_to(folder), (folder / "other" / "two").relative_to(folder), out=folder / "x.svg")
    written = (folder / "x.svg").read_text()
    assert "<!-- two -->" in written
    assert "<!-- other/two -->" in written


def refusal(command, *arguments, **options) -> str:
    with pytest.raises(spec.SpecError) as error:
        command(*arguments, **options)
    return str(error.value)


def test_plot_refuses_what_it_cannot_draw(folder):
    one = folder / "one"
    assert refusal(plot) == "plot needs the folders of runs, such as densenet plot runs/torch runs/mxnet"
    assert refusal(plot, one, out=folder / "x.txt") == f"{folder}/x.txt must end in .png or .svg or .pdf"
    assert refusal(plot, one, one) == "plot was given one run twice: name each once"
    assert "is not the folder of a run" in refusal(plot, folder)
    assert refusal(plot, one, out=folder / "none" / "x.png") == (
        f"--out {folder}/none/x.png cannot be written: {folder}/none is not a directory"
    )
    (folder / "x.png").symlink_to(one / "log.jsonl")
    assert refusal(plot, one, out=folder / "x.png") == f"--out {folder}/x.png is a file that is read: name another one"
    assert not (folder / "curves.png").exists()


def test_heatmap_draws_a_picture(folder, capsys):
    assert heatmap(folder / "small.safetensors") == 0
    assert capsys.readouterr().out == "written: heatmap.png\n"
    with Image.open("heatmap.png") as picture:
        assert picture.width == 1660
    assert heatmap(folder / "small.safetensors", out=folder / "raw.svg", raw=True) == 0
    assert "<!-- mean |w| -->" in (folder / "raw.svg").read_text()


@pytest.mark.parametrize("raw", [False, True])
def test_heatmap_prints_its_numbers(folder, capsys, raw):
    assert heatmap(folder / "small.safetensors", as_json=True, raw=raw) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert not (folder / "heatmap.png").exists()
    assert (found["network"], found["rescaled"]) == ("small", not raw)
    first, second = found["blocks"]
    assert first["name"] == "features.denseblock1"
    assert first["sources"] == ["input", "denselayer1", "denselayer2"]
    assert first["targets"] == ["denselayer1", "denselayer2", "transition1"]
    weights = spec.open("small.safetensors").weights
    layer = abs(weights["features.denseblock1.denselayer2.conv1.weight"].astype(float))
    transition = abs(weights["features.transition1.conv.weight"].astype(float))
    largest = max(value for row in first["values"] for value in row if value is not None)
    assert (largest == 1) is not raw
    ratio = first["values"][1][1] / first["values"][2][2]
    assert ratio == pytest.approx(layer[:, 6:].mean() / transition[:, 10:].mean(), rel=1e-12)
    assert [[value is None for value in row] for row in second["values"]] == np.tri(4, 4, -1, dtype=bool).tolist()


def test_heatmap_prints_and_draws_where_it_is_asked_for_both(folder, capsys):
    assert heatmap(folder / "small.safetensors", as_json=True, out=folder / "x.png") == 0
    assert json.loads(capsys.readouterr().out)["network"] == "small"
    assert (folder / "x.png").exists()


def test_heatmap_prints_without_matplotlib(folder, monkeypatch, capsys):
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    assert heatmap(folder / "small.safetensors", as_json=True) == 0
    assert refusal(heatmap, folder / "small.safetensors") == (
        "plots need matplotlib, which is not installed: pip install 'densenet-reference[plot]'"
    )


def test_heatmap_of_a_run_is_that_of_its_best_weights(folder, capsys):
    best = spec.initialize(small(bn_size=4), 1)
    spec.save(folder / "one" / "best.safetensors", small(bn_size=4), best)
    printed = []
    for source in (folder / "one", folder / "one" / "best.safetensors", folder / "small.safetensors"):
        heatmap(source, as_json=True)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    assert refusal(heatmap, folder / "two").startswith(f"{folder}/two is not the folder of a run")


def test_heatmap_refuses_what_it_cannot_draw(folder):
    assert refusal(heatmap, folder / "lenet.safetensors") == (
        "lenet has no dense block: the map of feature reuse is that of a DenseNet"
    )
    missing = folder / "none.safetensors"
    expected = f"{missing} does not exist: name the folder of a run, or a .safetensors file"
    assert refusal(heatmap, missing) == expected
    assert "must end in .png" in refusal(heatmap, folder / "small.safetensors", out=folder / "small.safetensors")
    (folder / "x.png").symlink_to(folder / "small.safetensors")
    assert "is a file that is read" in refusal(heatmap, folder / "small.safetensors", out=folder / "x.png")
