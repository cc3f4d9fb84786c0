"""Pictures: the same numbers give the same bytes, and what is asked for is drawn."""

import matplotlib
import pytest

from tenfold.drawing import PALETTE, Labels, Look, curves, draw, sheet

LABELS = Labels("Error", "depth", "error", "An error that falls with depth.")
LINES = {"ours": ([1, 2, 4], [1.0, 0.1, 0.01]), "theirs": ([1, 2, 4], [1.0, float("nan"), 0.0])}


def test_the_same_numbers_give_the_same_bytes():
    first, second = (curves("error", LINES, LABELS, Look("xy")) for _ in range(2))
    assert first == second
    assert first.png.startswith(b"\x89PNG")
    assert first.alt == LABELS.alt


def test_other_numbers_give_another_picture():
    other = {**LINES, "ours": ([1, 2, 4], [1.0, 0.2, 0.01])}
    assert curves("error", LINES, LABELS).png != curves("error", other, LABELS).png


def test_ours_has_the_first_colour_and_a_chosen_one_is_not_given_twice():
    with sheet() as page:
        draw(page.axes[0], LINES, Look(colours={"theirs": PALETTE[0]}))
        assert [line.get_color() for line in page.axes[0].lines] == [PALETTE[1], PALETTE[0]]


@pytest.mark.parametrize(
    ("log", "scales"), [("", ("linear", "linear")), ("y", ("linear", "log")), ("xy", ("log", "log"))]
)
def test_scales(log, scales):
    with sheet() as page:
        draw(page.axes[0], LINES, Look(log))
        assert (page.axes[0].get_xscale(), page.axes[0].get_yscale()) == scales


def test_a_value_that_a_logarithm_cannot_show_leaves_a_gap():
    with sheet() as page:
        draw(page.axes[0], LINES, Look("y"))
        drawn = page.axes[0].lines[1].get_ydata()
        assert list(drawn == drawn) == [True, False, False]


def test_bands_and_guides_are_drawn():
    with sheet() as page:
        bands = {"ours": ([0.9, 0.09, 0.009], [1.1, 0.11, 0.011])}
        draw(page.axes[0], LINES, Look(bands=bands, guides={"bar": 0.5}))
        assert len(page.axes[0].collections) == 1
        assert [text.get_text() for text in page.axes[0].texts] == ["bar"]


def test_global_settings_are_left_alone():
    before = matplotlib.rcParams["font.size"]
    with sheet(rows=2, columns=2, font_size=5) as page:
        assert len(page.axes) == 4
        assert matplotlib.rcParams["font.size"] == 5
    assert matplotlib.rcParams["font.size"] == before
