"""Photographs as network input: crops, scaled and normalized as the published networks expect them."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image, ImageOps

import spec

IMAGENET = spec.Preprocessing()
RESAMPLING = {name: Image.Resampling[name.upper()] for name in get_args(spec.preprocessing.Interpolation)}
MARGIN = 8 / 7  # 256 / 224: how much larger than the crop the photograph is scaled to be


def prepare(path: Path, preprocessing: spec.Preprocessing) -> np.ndarray:
    """One photograph (C, H, W) in float64, as the network whose weights the preprocessing belongs to takes it."""
    photograph, size, resize = _open(path), preprocessing.size, preprocessing.resize
    how = RESAMPLING[preprocessing.interpolation]
    if resize is None:
        return _normalized(photograph.resize((size, size), how), len(preprocessing.mean), preprocessing)
    shorter = min(photograph.size)
    width, height = (resize * side // shorter for side in photograph.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    crop = photograph.resize((width, height), how).crop((left, top, left + size, top + size))
    return _normalized(crop, len(preprocessing.mean), preprocessing)


def load(
    paths: Sequence[Path], count: int, shape: tuple[int, ...], preprocessing: spec.Preprocessing | None = None
) -> np.ndarray:
    """`count` images (N, C, H, W) in float64, taken from the photographs in turn.

    The first crop of each photograph is central, later ones are shifted and mirrored, always in the
    same way. One channel means gray; beyond three, red, green and blue repeat. Values are dithered by up to
    half a gray level, always alike: photographs have patches of equal values, and a max pool over equal
    values has no one gradient. Colors are scaled as `preprocessing` says, else as is done for ImageNet.
    """
    photographs = [_open(path) for path in paths]
    crops = [_crop(photographs[i % len(paths)], i // len(paths), shape[1:]) for i in range(count)]
    own = preprocessing or IMAGENET
    images = np.stack([_normalized(crop, shape[0], own) for crop in crops])
    return images + np.random.default_rng(0).uniform(-0.5, 0.5, images.shape) * own.scale / np.mean(own.std)


def sample() -> Path:
    """The photograph that ships inside matplotlib."""
    package = find_spec("matplotlib")
    if package is None or package.origin is None:
        raise spec.SpecError(
            "the default photograph is one that ships inside matplotlib, which is not installed: "
            "pip install 'densenet-reference[plot]', or name your own with --images"
        )
    return Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"


def _open(path: Path) -> Image.Image:
    """The photograph in RGB, 8 bits each, as its camera was held."""
    if path.exists() and not path.is_file():
        raise spec.SpecError(f"{path} cannot be read as an image: it is not a file")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return _in_8_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except FileNotFoundError:
        raise spec.SpecError(f"image {path} does not exist") from None
    except Exception as error:  # a damaged file ends in any of a dozen kinds of them
        raise spec.SpecError(f"{path} cannot be read as an image: {error}") from None


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grays of 16 bits scaled, where Pillow cuts them off; raises SpecError for values that have no range."""
    if image.mode in ("I", "F"):
        raise spec.SpecError(f"nothing says which value of its mode {image.mode} is white, convert it to 8 or 16 bits")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().astype(np.uint8))


def _crop(photograph: Image.Image, index: int, size: tuple[int, ...]) -> Image.Image:
    height, width = size
    scaled = ImageOps.fit(photograph, (round(width * MARGIN), round(height * MARGIN)))
    across, down = (0.5, 0.5) if index == 0 else np.random.default_rng(index).uniform(size=2)
    left, top = round((scaled.width - width) * across), round((scaled.height - height) * down)
    crop = scaled.crop((left, top, left + width, top + height))
    return ImageOps.mirror(crop) if index % 2 else crop


def _normalized(image: Image.Image, channels: int, preprocessing: spec.Preprocessing) -> np.ndarray:
    """(C, H, W): gray where there is one channel; beyond three, red, green and blue repeat."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    if channels == 1:
        gray = np.asarray(image.convert("L"), dtype=np.float64)[None] * preprocessing.scale
        return (gray - mean.mean()) / std.mean()
    colors = np.asarray(image, dtype=np.float64)[..., :: -1 if preprocessing.channel_order == "BGR" else 1]
    turn, each = np.arange(channels) % 3, np.arange(channels) % len(mean)
    return ((colors[..., turn] * preprocessing.scale - mean[each]) / std[each]).transpose(2, 0, 1)
