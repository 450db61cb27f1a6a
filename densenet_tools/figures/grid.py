"""Pictures in rows and columns, with what they show and what they were taken for."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import spec
from densenet_tools.figures.canvas import WIDTH, Colors, Theme, canvas, saved, shortened, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 100  # pictures
COLUMNS = 8
LARGEST = 2.0  # inches that a picture has, where there are few
NARROWEST = 3.6  # inches of a figure, for its last line
LETTERS = 14  # of a name, that an inch has room for
Picture = np.ndarray | Image.Image


def grid(
    images: Sequence[Picture], predicted: Sequence[str], true: Sequence[str] | None, kind: str, theme: Theme = "light"
) -> bytes:
    """Pictures of any sizes, in 8 bits, with the classes predicted, and the true ones where they are known.

    Arrays are (H, W) or (H, W, 1) for gray, (H, W, 3) for red, green and blue. `kind` is png, svg or pdf. Raises
    SpecError for none, for more than fit, for names that are not as many, and for what is no picture.
    """
    with themed(theme) as colors:
        return saved(draw(images, predicted, true, colors), kind)


def draw(images: Sequence[Picture], predicted: Sequence[str], true: Sequence[str] | None, colors: Colors) -> "Figure":
    """Above each picture its class, and below that the one predicted; a wrong one has a cross and a frame."""
    _check(images, predicted, true)
    rows = ceil(len(images) / COLUMNS)
    columns = ceil(len(images) / rows)
    side = min(WIDTH / columns, LARGEST)
    figure = canvas(max(columns * side, NARROWEST), rows * (side + 0.35) + 0.25)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for i, (axes, image) in enumerate(zip(cells, images)):
        axes.imshow(_pixels(image), cmap="gray", vmin=0, vmax=255)
        _name(axes, predicted[i], true[i] if true is not None else None, round(LETTERS * side), colors)
    if true is not None:
        figure.supxlabel("first line: true class; second: predicted, ✓ right, ✗ wrong", fontsize=8)
    return figure


def _check(images: Sequence[Picture], predicted: Sequence[str], true: Sequence[str] | None) -> None:
    if not 1 <= len(images) <= MOST:
        raise spec.SpecError(f"a grid has 1 to {MOST} pictures, found {len(images)}")
    for names in (predicted, true):
        if names is not None and len(names) != len(images):
            raise spec.SpecError(f"a grid of {len(images)} pictures needs as many classes, found {len(names)}")


def _pixels(image: Picture) -> np.ndarray:
    """(H, W) for gray, else (H, W, 3)."""
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) and image.mode != "L" else image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,)):
        raise spec.SpecError(
            f"a picture is (H, W), (H, W, 1) or (H, W, 3) in uint8, found {pixels.shape} in {pixels.dtype}"
        )
    return pixels[..., 0] if pixels.shape[2:] == (1,) else pixels


def _name(axes: Any, predicted: str, true: str | None, letters: int, colors: Colors) -> None:
    """Writes the classes above a picture; one that is wrong is marked by more than its color."""
    wrong = true is not None and predicted != true
    lines = [predicted] if true is None else [true, f"{'✗' if wrong else '✓'} {predicted}"]
    title = "\n".join(shortened(line, letters) for line in lines)
    axes.set_title(title, fontsize=8, pad=4, color=colors.wrong if wrong else colors.text, parse_math=False)
    if wrong:
        axes.set_frame_on(True)
        for spine in axes.spines.values():
            spine.set(color=colors.wrong, linewidth=3)
