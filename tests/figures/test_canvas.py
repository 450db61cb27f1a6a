"""A figure becomes a file, in its theme's colors whatever the user's settings."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spec
from densenet_tools import figures
from densenet_tools.figures import canvas
from densenet_tools.figures.canvas import THEMES, saved, shortened, themed

matplotlib = pytest.importorskip("matplotlib")
KINDS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def picture(kind: str, theme: figures.Theme, name: str = "a title") -> bytes:
    with themed(theme):
        figure = canvas.canvas(2, 2)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        axes.set_title(name)
        return saved(figure, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_figure_is_the_same_file_whatever_the_settings(kind):
    first = picture(kind, "dark")
    assert first.startswith(KINDS[kind])
    with matplotlib.rc_context({"axes.facecolor": "red", "lines.linewidth": 9, "text.color": "green"}):
        assert picture(kind, "dark") == first
        assert matplotlib.rcParams["axes.facecolor"] == "red"


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_is_what_is_behind_and_what_is_written(theme):
    with Image.open(io.BytesIO(picture("png", theme))) as image:
        assert image.size == (400, 400)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colors = [
        tuple(int(each[i : i + 2], 16) for i in (1, 3, 5)) for each in (THEMES[theme].background, THEMES[theme].text)
    ]
    found = {tuple(pixel) for pixel in pixels.tolist()}
    assert tuple(pixels[0]) == colors[0]
    assert set(colors) <= found


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_letters_stand_out_from_what_is_behind(theme):
    """WCAG 2.1 asks for a contrast of 4.5 for text (criterion 1.4.3) and of 3 for graphics (1.4.11)."""
    colors = THEMES[theme]
    assert contrast(colors.text, colors.background) >= 4.5
    assert contrast(colors.wrong, colors.background) >= 4.5
    assert min(contrast(color, colors.background) for color in colors.cycle) >= 3


def contrast(one: str, other: str) -> float:
    """(lighter + 0.05) / (darker + 0.05) of two relative luminances, as WCAG 2.1 defines them."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES)
def test_no_two_of_ninety_things_look_alike(theme):
    cycle = THEMES[theme].cycle
    looks = [canvas.look(i) for i in range(90)]
    assert len(set(cycle)) == 10
    assert len({(cycle[int(look["color"][1:])], look["marker"]) for look in looks}) == 90


def test_letters_that_the_font_lacks_are_said():
    with pytest.warns(spec.SpecWarning, match="^the font of figures lacks some letters of these names: boxes"):
        picture("png", "light", "\U0001f980")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("x.jpg", "x.jpg must end in .png or .svg or .pdf"), ("x", "x must end in .png or .svg or .pdf")],
)
def test_a_name_that_is_no_pictures_is_refused(name, sentence):
    with pytest.raises(spec.SpecError) as error:
        figures.check(Path(name))
    assert str(error.value) == sentence


def test_without_matplotlib_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    with pytest.raises(spec.SpecError) as error:
        figures.check(Path("x.png"))
    assert str(error.value) == ("plots need matplotlib, which is not installed: pip install 'densenet-reference[plot]'")


def test_long_names_are_shortened():
    assert [shortened(name, 6) for name in ("Shirt", "Sandal", "Trouser", "a bc defgh")] == [
        *("Shirt", "Sandal", "Trous…", "a bc…")
    ]
