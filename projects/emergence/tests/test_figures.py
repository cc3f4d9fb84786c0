"""Pictures are PNG files with a text for those who do not see them, the same bytes for the same numbers."""

from collections.abc import Callable

import pytest

from emergence.figures import (
    LawPanel,
    condensing_profile,
    depth_limits,
    law_surface,
    retention,
    sharp_and_smooth,
)
from tenfold.claims import Figure
from tenfold.drawing import Labels

WORDS = Labels("title", "x", "y", "alt text")
LINE = ([1.0, 2.0, 4.0], [0.9, 0.5, 0.1])


def kept() -> Figure:
    return retention("kept", {"P = 8": LINE}, {"λ = 1": LINE, "λ = 2": LINE}, WORDS, edge=1.1)


def law() -> Figure:
    panel = LawPanel(
        "blocks",
        {"N = 64": LINE, "only points": LINE},
        {"N = 64": LINE},
        {"N = 64": ([0.8, 0.4, 0.05], [1.0, 0.6, 0.2])},
    )
    return law_surface("law", [panel, panel], WORDS)


def profile() -> Figure:
    return condensing_profile(
        "profile",
        {"σ": [3.0, 1.2], "update": [1, 0.1]},
        {"σ": [1.4, 1.4], "update": [0.2, 0.2]},
        WORDS,
        {"σ": {"σ = 1": 1.0}},
    )


def limits() -> Figure:
    return depth_limits(
        "limits",
        {"tied": LINE, "untied": (range(1, 40), [0.4] * 39)},
        WORDS,
        {"tied": ([0.8, 0.4, 0.05], [1, 0.6, 0.2])},
    )


def metrics() -> Figure:
    return sharp_and_smooth("metrics", {"2 layers": LINE}, {"2 layers": LINE}, WORDS)


@pytest.mark.parametrize("draw", [kept, law, profile, limits, metrics])
def test_pictures_are_the_same_bytes_for_the_same_numbers(draw: Callable[[], Figure]) -> None:
    first, second = draw(), draw()
    assert first.png == second.png
    assert len(first.png) > 5000
    assert first.alt == "alt text"


def test_a_law_needs_panels_and_points() -> None:
    with pytest.raises(ValueError, match="panels is empty"):
        law_surface("law", [], WORDS)
    with pytest.raises(ValueError, match="fitted line 'b' has no measured points"):
        law_surface("law", [LawPanel("x", {"a": LINE}, {"b": LINE})], WORDS)


def test_a_profile_compares_the_same_metrics() -> None:
    with pytest.raises(ValueError, match="give the same"):
        condensing_profile("profile", {"σ": [1.0]}, {"rank": [1.0]}, WORDS)
