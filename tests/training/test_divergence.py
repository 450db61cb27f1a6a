"""What is not finite stops a run, which names the step and the first layer with such an output."""

import re
from pathlib import Path

import numpy as np
import pytest

import spec
from densenet_tools.data.fashion import CLASSES
from densenet_tools.training.causes import first_not_finite
from tests.support import FRAMEWORKS
from tests.training.support import NETWORK, begin, checkpoint_step, refused, settings

BACKENDS = ["numpy", *FRAMEWORKS]
OWN = spec.load("densenet40_k12_bc", **NETWORK, in_channels=1, num_classes=len(CLASSES), input_size=16)
WEIGHTS = spec.initialize(OWN, 0, np.float32)
LARGE, SQUARED_TOO_LARGE = 3e38, 1e25  # float32 ends at 3.4e38
PLANTED = [
    # {weights that are made so large}: every output before theirs is as it was
    ("features.conv0.weight", LARGE, "features.conv0"),
    ("features.denseblock1.denselayer1.conv1.weight", LARGE, "features.denseblock1.denselayer1.conv1"),
    # finite outputs, whose variance is not
    ("features.denseblock1.denselayer1.conv1.weight", SQUARED_TOO_LARGE, "features.denseblock1.denselayer1.norm2"),
    ("features.norm5.weight", LARGE, "features.norm5"),
    ("classifier.weight", LARGE, "classifier"),
]
ADVICE = "begin another run with a lower learning_rate, or with a warmup; the checkpoint of step"


def planted(folder: Path, name: str, value: float) -> str:
    """A file of the network in which these weights have that value, all of them."""
    path = folder / "planted.safetensors"
    spec.save(path, OWN, WEIGHTS | {name: np.full_like(WEIGHTS[name], value)}, classes=CLASSES)
    return str(path)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("weights", "value", "layer"), PLANTED, ids=[f"{name}-{value}" for name, value, _ in PLANTED])
def test_the_layer_is_the_one_that_was_planted(name, weights, value, layer, data, tmp_path):
    """MXNet's ReLU makes 0 of what is no number, so that a loss is finite: then the weights are not."""
    chosen = settings(data, name, network=planted(tmp_path, weights, value), overrides={}, checkpoint_seconds=0)
    with refused(f", the first output that is not finite is that of {layer} in step 1: {ADVICE} 0 is kept") as said:
        begin(chosen, tmp_path / "run")
    assert re.match(r"(the loss of step 1 is (nan|inf)|after step 1 \S+ is not finite), ", said[0])
    assert checkpoint_step(tmp_path / "run") == 0


@pytest.mark.parametrize("name", BACKENDS)
def test_a_learning_rate_that_is_too_large_is_found_out_later(name, data, tmp_path):
    """It takes the run some steps; those since the last checkpoint are made again to find the first."""
    fields = {"learning_rate": 1e9, "schedule": "constant", "momentum": 0.0, "nesterov": False}
    with refused(f": {ADVICE} 0 is kept") as said:
        begin(settings(data, name, **fields), tmp_path / "run")
    match = re.match(r"the loss of step (\d+) is (?:nan|inf), the first .* is that of (\S+) in step (\d+): ", said[0])
    assert match, said
    assert 1 < int(match[3]) <= int(match[1])
    assert match[2] in {path for path, _ in spec.walk(OWN.root)}
    assert checkpoint_step(tmp_path / "run") == 0


def test_frozen_statistics_are_what_the_layer_is_looked_for_with():
    """A variance of the batch that is not finite does no harm where the running one is used."""
    name = "features.denseblock1.denselayer1.conv1.weight"
    weights = WEIGHTS | {name: np.full_like(WEIGHTS[name], SQUARED_TOO_LARGE)}
    images = np.random.default_rng(0).normal(size=(4, *OWN.input_shape))
    assert first_not_finite(OWN, weights, images, frozen_statistics=False) == "features.denseblock1.denselayer1.norm2"
    assert first_not_finite(OWN, weights, images, frozen_statistics=True) != "features.denseblock1.denselayer1.norm2"
    assert first_not_finite(OWN, WEIGHTS, images, frozen_statistics=False) is None
