"""The feature-reuse map as a picture."""

from itertools import pairwise

import numpy as np
import pytest

import spec
from densenet_tools.figures.canvas import THEMES
from densenet_tools.figures.heatmap import draw, heatmap
from densenet_tools.reuse import BlockReuse, feature_reuse
from tests.cases import small
from tests.figures.support import check_room, laid_out, texts


@pytest.fixture(scope="module")
def blocks():
    return feature_reuse(small(), spec.initialize(small(), 0))


def block(layers: int, *after: str) -> BlockReuse:
    names = tuple(f"denselayer{i}" for i in range(1, layers + 1))
    values = np.tril(np.ones((layers + 1, layers + len(after)))).T[: layers + len(after)].T
    return BlockReuse("features.denseblock1", ("input", *names), (*names, *after), values)


@pytest.mark.parametrize("rescaled", [True, False])
def test_a_panel_has_the_values_of_its_block(blocks, rescaled):
    with laid_out(draw, blocks, rescaled) as figure:
        *panels, bar = figure.axes
        for axes, each in zip(panels, blocks, strict=True):
            image = axes.get_images()[0]
            shown = np.ma.filled(image.get_array(), np.nan)
            np.testing.assert_array_equal(shown, each.rescaled if rescaled else each.values)
            largest = 1 if rescaled else max(np.nanmax(each.values) for each in blocks)
            assert image.get_clim() == (0, largest)
            assert axes.get_title() == each.name.removeprefix("features.")
        assert bar.get_ylabel() == ("mean |w|, over the block's largest" if rescaled else "mean |w|")
        assert {"source layer; 0: the block's input", "target layer; framed: what reads the whole block"} <= set(
            texts(figure)
        )


def test_layers_are_numbered_and_what_reads_the_block_is_framed_and_named(blocks):
    with laid_out(draw, blocks, True) as figure:
        first, second, _ = figure.axes
        assert [label.get_text() for label in first.get_xticklabels()] == ["1", "2"]
        assert [label.get_text() for label in first.get_yticklabels()] == ["0", "1", "2"]
        assert first.get_xticks().tolist() == [0, 1]
        assert first.get_yticks().tolist() == [0, 1, 2]
        (frame,) = second.patches
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((2.5, -0.5), 1, 4)
        assert [text.get_text() for axes in (first, second) for text in axes.texts] == ["transition1", "classifier"]


def test_what_nothing_reads_as_a_whole_has_no_frame():
    with laid_out(draw, [block(2)], True) as figure:
        assert (list(figure.axes[0].patches), list(figure.axes[0].texts)) == ([], [])


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_not_connected_is_blank(blocks, theme):
    """Cell (3, 0) of the second block is none: nothing is drawn over the background."""
    with laid_out(draw, blocks, True, theme=theme) as figure:
        image = figure.axes[1].get_images()[0]
        rgba = image.to_rgba(image.get_array())
        assert rgba[3, 0].tolist() == [0, 0, 0, 0]
        assert rgba[0, 0, 3] == 1


@pytest.mark.parametrize("counts", [(1,), (6, 6, 6), (6, 12, 64, 48), (8, 9, 20, 21, 90)])
def test_everything_has_its_room(counts):
    with laid_out(draw, [block(count, "transition1") for count in counts], True) as figure:
        check_room(figure)
        for axes in figure.axes[: len(counts)]:
            down = [label.get_window_extent() for label in axes.get_yticklabels()]
            across = [label.get_window_extent() for label in axes.get_xticklabels()]
            assert not [one for ends in (down, across) for one, other in pairwise(ends) if one.overlaps(other)]
            assert len(down) <= 10


def test_a_heat_map_is_a_file(blocks):
    assert heatmap(blocks, True, "png", "dark").startswith(b"\x89PNG")
