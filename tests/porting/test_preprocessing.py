"""What is done to a photograph belongs to the weights: it travels with them, and means the same in every backend."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import backends, images, porting
from densenet_tools.porting import Format
from tests.porting.support import NETWORK, weights_of
from tests.support import FRAMEWORKS, require

PLAIN = {"size": 4, "resize": None, "scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.fixture
def photograph(tmp_path) -> Path:
    """12 x 8 pixels, each of another color."""
    pixels = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def prepared(path: Path, **fields) -> np.ndarray:
    return images.prepare(path, spec.Preprocessing(**PLAIN | fields))


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).transpose(2, 0, 1).astype(float)


def test_a_crop_is_the_center_of_what_was_resized(photograph):
    """8 pixels stay 8 where the shorter side is to be 8: the center of 12 x 8 is 4 x 4 of the same pixels."""
    assert (prepared(photograph, resize=8) == pixels_of(photograph)[:, 2:6, 4:8]).all()


def test_without_a_crop_both_sides_are_resized(photograph):
    """To half and to a third, where the nearest pixel is one of the photograph's."""
    found = prepared(photograph, interpolation="nearest")
    assert (found == pixels_of(photograph)[:, 1::2, 1::3]).all()


@pytest.mark.parametrize("how", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_it_is_resized_as_is_said(photograph, how):
    resized = Image.open(photograph).resize((6, 4), Image.Resampling[how.upper()])
    expected = np.asarray(resized).transpose(2, 0, 1)[:, :, 1:5]
    assert (prepared(photograph, resize=4, interpolation=how) == expected).all()


def test_values_are_scaled_then_shifted_then_divided_in_the_order_of_channels(photograph):
    raw = prepared(photograph, resize=8)
    found = prepared(photograph, resize=8, channel_order="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    expected = (raw[::-1] * 0.5 - np.array([1, 2, 3])[:, None, None]) / np.array([2, 4, 8])[:, None, None]
    assert found == pytest.approx(expected, rel=1e-15)


def test_one_mean_is_for_gray_images_and_five_for_five_channels(photograph):
    gray = prepared(photograph, resize=8, mean=(0.0,), std=(1.0,))
    assert (gray[0] == np.asarray(Image.open(photograph).convert("L"))[2:6, 4:8]).all()
    five = prepared(photograph, resize=8, mean=(0.0,) * 4 + (10.0,), std=(1.0,) * 5)
    raw = pixels_of(photograph)[:, 2:6, 4:8]
    assert (five == np.stack([raw[0], raw[1], raw[2], raw[0], raw[1] - 10])).all()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mean": (0.5,)}, "std should have 1 entries, one for each of mean, found 3"),
        ({"mean": (0.5,) * 4}, "std should have 4 entries, one for each of mean, found 3"),
        ({"mean": (0.5, float("nan"), 0.5)}, "mean should be finite numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "std should be finite numbers above 0, found"),
        ({"resize": 100}, "resize should be at least size (224), found 100"),
        (
            {"interpolation": "box"},
            "interpolation: should be 'nearest', 'bilinear', 'bicubic' or 'lanczos', found 'box'",
        ),
        ({"crop": 7}, "crop: unknown field"),
    ],
)
def test_what_is_none_is_refused(fields, sentence):
    with pytest.raises(spec.SpecError) as error:
        spec.Preprocessing(**fields)
    assert str(error.value).startswith(sentence)


def test_the_same_photograph_gives_the_same_logits_in_every_backend(tmp_path):
    """From one file that carries it, opened by each backend."""
    size = NETWORK.input_shape[1]
    preprocessing = spec.Preprocessing(size=size, resize=size + 4, channel_order="BGR", mean=(0.4, 0.5, 0.6))
    spec.save(tmp_path / "x.safetensors", NETWORK, weights_of(), preprocessing)
    carried = spec.open(tmp_path / "x.safetensors").preprocessing
    assert carried == preprocessing
    batch = images.prepare(images.samples()[0], carried)[None].astype(np.float32)
    logits = {}
    for name in ["numpy", *FRAMEWORKS]:
        backend = require(name)
        logits[name] = backend.predict(backend.from_file(tmp_path / "x.safetensors"), batch)
    for name, found in logits.items():
        assert found == pytest.approx(logits["numpy"], rel=1e-5, abs=1e-5), name
    other = images.prepare(images.samples()[0], spec.Preprocessing(size=size, resize=size + 4))[None].astype(np.float32)
    backend = backends.parse("numpy").load()
    assert abs(backend.predict(backend.from_file(tmp_path / "x.safetensors"), other) - logits["numpy"]).max() > 1e-3


@pytest.mark.parametrize(
    ("variant", "fields", "known"),
    [
        ("densenet121", {}, True),
        ("densenet121", {"num_classes": 10}, False),
        ("densenet121", {"in_channels": 1}, False),
        ("densenet264", {}, False),
        ("resnet18", {"in_channels": 3, "num_classes": 1000, "conv_bias": False, "projection_norm": True}, True),
        ("resnet18", {"in_channels": 3, "num_classes": 1000}, False),
    ],
)
def test_a_checkpoint_of_what_torchvision_publishes_has_its_preprocessing(tmp_path, variant, fields, known):
    torch = require("torch")
    network = spec.variant(variant, **fields)
    torch.files.save_weights(tmp_path / "any name.pth", spec.initialize(network, 0))
    found = porting.convert(tmp_path / "any name.pth", Format.TORCH).result.preprocessing
    assert found == (spec.Preprocessing() if known else None)
