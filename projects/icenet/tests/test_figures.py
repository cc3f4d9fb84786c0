"""Pictures are PNG files with a text for those who do not see them, the same bytes for the same numbers."""

import math
from collections.abc import Callable

import pytest
import torch

from icenet.figures import (
    COLOURS,
    Panel,
    channel_magnitudes,
    colours,
    cost_against_error,
    iterations_over_snr,
    memory_over_depth,
    over_doppler,
    over_snr,
    residual_per_iteration,
)
from tenfold.claims import Figure

LINES = {"ICENet": ([0.0, 10.0], [-8.0, -15.0]), "LS, linear": ([0.0, 10.0], [-3.0, math.nan])}
TRACE = torch.tensor([[1.0, 0.1, math.nan], [1.0, 0.2, 0.01]])
CHANNEL = torch.randn(8, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def channel() -> Figure:
    panels = [Panel("pilots", CHANNEL[::2, ::2]), Panel("truth", CHANNEL)]
    return channel_magnitudes("channel", panels, "One slot", "alt")


PICTURES: dict[str, Callable[[], Figure]] = {
    "snr": lambda: over_snr("snr", LINES, "title", "alt"),
    "ber": lambda: over_snr("ber", {"LS": ([0, 5], [0.1, 0.0])}, "title", "alt", "bit error rate", "y"),
    "doppler": lambda: over_doppler("doppler", LINES, "title", "alt"),
    "iterations": lambda: iterations_over_snr("n", {0.0: [5, 6], 10.0: [7, 8]}, 30, "title", "alt"),
    "residual": lambda: residual_per_iteration("r", {"ICENet": TRACE}, "title", "alt", 1e-3),
    "cost": lambda: cost_against_error(
        "cost", ("ICENet", ([1e6, 1e7], [-5, -9])), {"StackedCE(1)": (1e6, -4)}, "title", "alt"
    ),
    "memory": lambda: memory_over_depth("memory", {"ICENet": ([5, 50], [1.0, 1.0])}, "title", "alt"),
    "channel": channel,
}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures_are_the_same_bytes_for_the_same_numbers(name: str) -> None:
    first, second = PICTURES[name](), PICTURES[name]()
    assert first.png == second.png
    assert len(first.png) > 5000
    assert first.alt == "alt"


def test_a_picture_shows_its_numbers() -> None:
    worse = {**LINES, "ICENet": ([0.0, 10.0], [-8.0, -14.0])}
    assert over_snr("snr", worse, "title", "alt").png != PICTURES["snr"]().png


def test_an_estimator_has_one_colour_and_no_colour_serves_two() -> None:
    found = colours(["LS, linear", "LMMSE, exact", "LMMSE, mismatched", "ICENet, contractive", "theory"])
    assert found == {
        "LS, linear": COLOURS["LS"],
        "LMMSE, exact": COLOURS["LMMSE"],
        "ICENet, contractive": COLOURS["ICENet"],
    }
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_channel_picture_needs_a_panel() -> None:
    with pytest.raises(ValueError, match="panels is empty: give at least the true channel"):
        channel_magnitudes("channel", [], "title", "alt")
