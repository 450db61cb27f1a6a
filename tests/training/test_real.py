"""A part of the real Fashion-MNIST is really learned, from the command line to the evaluation."""

import json

import numpy as np

from densenet_tools.commands.app import main
from tests.data.support import IDX, idx, real_fashion_mnist
from tests.support import require

COUNT = {"train": 2048, "test": 512}
SMALL = ["--set", "block_config=[2,2]", "--set", "growth_rate=6", "--set", "stem.stride=2"]
CHANCE = 0.1


def test_a_small_network_learns_a_part_of_fashion_mnist(tmp_path, capsys):
    require("torch")
    splits = real_fashion_mnist()
    for part, start in IDX.items():
        dataset = getattr(splits, part)
        (tmp_path / f"{start}-images-idx3-ubyte").write_bytes(idx(dataset.pixels[: COUNT[part]]))
        (tmp_path / f"{start}-labels-idx1-ubyte").write_bytes(idx(dataset.labels[: COUNT[part]]))
    run, data = str(tmp_path / "run"), ["--data", "fashion-mnist", "--data-dir", str(tmp_path)]
    settings = ["--image-size", "28", "--epochs", "2", "--schedule", "one-cycle", "--batch-size", "32"]
    assert main(["train", "densenet40_k12_bc", *SMALL, *data, *settings, "--out", run]) == 0
    found = tmp_path / "found.json"
    assert main(["evaluate", run, *data, "--json", str(found)]) == 0
    metrics = json.loads(found.read_text())
    assert metrics["count"] == COUNT["test"]
    assert metrics["accuracy"] > 5 * CHANCE
    assert np.trace(metrics["confusion"]) == round(metrics["accuracy"] * COUNT["test"])
    assert "Ankle boot" in capsys.readouterr().out
