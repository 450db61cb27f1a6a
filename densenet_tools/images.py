"""Photographs as network input: crops, scaled and normalized as the published networks expect them."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

import spec

IMAGENET = spec.Preprocessing()
RESAMPLING = {name: Image.Resampling[name.upper()] for name in get_args(spec.preprocessing.Interpolation)}
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**26)  # as many as Pillow opens, unless it was told otherwise
MARGIN = 8 / 7  # 256 / 224: how much larger than the crop the photograph is scaled to be


def prepare(path: Path, preprocessing: spec.Preprocessing) -> np.ndarray:
    """One photograph (C, H, W) in float64, as the network whose weights the preprocessing belongs to takes it."""
    photograph, channels = _open(path), len(preprocessing.mean)
    try:
        placed = place(photograph, preprocessing)
    except spec.SpecError as error:
        raise spec.SpecError(f"{path}: {error}") from None
    return normalize(stack([placed], channels), preprocessing, channels)[0]


def load(
    paths: Sequence[Path], count: int, shape: tuple[int, ...], preprocessing: spec.Preprocessing | None = None
) -> np.ndarray:
    """`count` images (N, C, H, W) in float64, taken from the photographs in turn; without any, from one that is drawn.

    The first crop of each photograph is central, later ones are shifted and mirrored, always in the
    same way. One channel means gray; beyond three, red, green and blue repeat. Values are dithered by up to
    half a gray level, always alike: photographs have patches of equal values, and a max pool over equal
    values has no one gradient. Colors are scaled as `preprocessing` says, else as is done for ImageNet.
    """
    photographs = [_open(path) for path in paths] or [_drawn()]
    n = len(photographs)
    crops = [_crop(photographs[i % n], i // n, shape[1:]) for i in range(count)]
    own = preprocessing or IMAGENET
    images = normalize(stack(crops, shape[0]), own, shape[0])
    return images + np.random.default_rng(0).uniform(-0.5, 0.5, images.shape) * own.scale / np.mean(own.std)


def samples() -> list[Path]:
    """The photograph that ships inside matplotlib; none where that is not installed, and `load` draws one."""
    package = find_spec("matplotlib")
    if package is None or package.origin is None:
        return []
    return [Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"]


def decode(path: Path) -> Image.Image:
    """The photograph, gray or in RGB, 8 bits each, as its camera was held; raises SpecError where it cannot be read.

    What Pillow warns of is the caller's to silence: warnings.catch_warnings is not for threads.
    """
    try:
        return _decoded(path)
    except FileNotFoundError:
        raise spec.SpecError(f"image {path} does not exist") from None
    except Exception as error:  # a damaged file ends in any of a dozen kinds of them
        raise spec.SpecError(f"{path} cannot be read as an image: {error}") from None


def problem(path: Path) -> str | None:
    """Why a photograph cannot be read, in a few words; None where it can. All of it is decoded for that."""
    try:
        _decoded(path)
    except UnidentifiedImageError:
        return "of no format that Pillow reads"
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def place(photograph: Image.Image, preprocessing: spec.Preprocessing) -> Image.Image:
    """What a network sees of a photograph: resized, and the central square of `size` pixels cut out.

    Raises SpecError for a strip that would be resized to more pixels than Pillow opens.
    """
    size, how = preprocessing.size, RESAMPLING[preprocessing.interpolation]
    if preprocessing.resize is None:
        return photograph.resize((size, size), how)
    shorter = min(photograph.size)
    width, height = (preprocessing.resize * side // shorter for side in photograph.size)
    if width * height > MOST_PIXELS:
        raise spec.SpecError(f"resized to {width}x{height} it has more than {MOST_PIXELS} pixels: crop it")
    left, top = round((width - size) / 2), round((height - size) / 2)
    return photograph.resize((width, height), how).crop((left, top, left + size, top + size))


def stays(size: Sequence[int], preprocessing: spec.Preprocessing) -> bool:
    """Whether `place` leaves a photograph of that size as it is."""
    return tuple(size) == (preprocessing.size,) * 2 and preprocessing.resize in (None, preprocessing.size)


def stack(photographs: Sequence[Image.Image], channels: int) -> np.ndarray:
    """Photographs of one size for a network of so many channels: uint8 (N, H, W, 1) where gray will do, else 3."""
    gray = channels == 1 or all(photograph.mode == "L" for photograph in photographs)
    pixels = np.stack([np.asarray(photograph.convert("L" if gray else "RGB")) for photograph in photographs])
    return pixels[..., None] if gray else pixels


def normalize(
    pixels: np.ndarray, preprocessing: spec.Preprocessing, channels: int, dtype: str = "float64"
) -> np.ndarray:
    """uint8 (N, H, W, 1 or 3) -> (N, C, H, W), computed in float64 and rounded to `dtype`.

    Beyond three channels, red, green and blue repeat.
    """
    count, height, width, colors = pixels.shape
    images = np.empty((count, channels, height, width), dtype)
    for channel, values in enumerate(_levels(preprocessing, channels).astype(dtype)):
        color = channel % colors
        images[:, channel] = values[pixels[..., colors - 1 - color if preprocessing.channel_order == "BGR" else color]]
    return images


def _levels(preprocessing: spec.Preprocessing, channels: int) -> np.ndarray:
    """(C, 256): what each level becomes in each channel. Looking it up takes a third of the time of computing it."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    each = np.arange(channels) % len(mean)
    mean, std = (mean.mean(), std.mean()) if channels == 1 else (mean[each, None], std[each, None])
    return (np.arange(256.0)[None] * preprocessing.scale - mean) / std


def _open(path: Path) -> Image.Image:
    """The photograph, decoded in silence."""
    with warnings.catch_warnings(action="ignore"):
        return decode(path)


def _decoded(path: Path) -> Image.Image:
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    with Image.open(path) as image:
        upright = _in_8_bits(ImageOps.exif_transpose(image))
    return upright if upright.mode == "L" else upright.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grays of 16 bits scaled, where Pillow cuts them off; raises SpecError for values that have no range."""
    if image.mode in ("I", "F"):
        raise spec.SpecError(f"nothing says which value of its mode {image.mode} is white, convert it to 8 or 16 bits")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().astype(np.uint8))


def _drawn() -> Image.Image:
    """Soft shapes of all colors under fine noise, always the same."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (9, 8, 3), "uint8")).resize((512, 576), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 12, (576, 512, 3))
    return Image.fromarray(np.clip(np.asarray(soft) + noise, 0, 255).astype("uint8"))


def _crop(photograph: Image.Image, index: int, size: tuple[int, ...]) -> Image.Image:
    height, width = size
    scaled = ImageOps.fit(photograph, (round(width * MARGIN), round(height * MARGIN)))
    across, down = (0.5, 0.5) if index == 0 else np.random.default_rng(index).uniform(size=2)
    left, top = round((scaled.width - width) * across), round((scaled.height - height) * down)
    crop = scaled.crop((left, top, left + width, top + height))
    return ImageOps.mirror(crop) if index % 2 else crop
