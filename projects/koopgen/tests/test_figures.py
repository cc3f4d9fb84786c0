"""Pictures are PNG files with a text for those who do not see them, the same bytes for the same numbers."""

import math
from collections.abc import Callable

import pytest
import torch

from koopgen.figures import (
    COLOURS,
    Forecasts,
    colour,
    curves,
    family,
    forecasts_with_error_growth,
    frequency_law,
)
from koopgen.maps import ColourMap, PlaneField, SpaceTime, attractor_maps, space_time_maps, vector_fields
from koopgen.model import KoopGen
from koopgen.portraits import portraits
from koopgen.systems import get_system
from tenfold.claims import Figure

T = torch.linspace(0, 3, 31)
POINTS = torch.cartesian_prod(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 5))


def growth() -> Figure:
    example = Forecasts(T, T.cos(), {"KoopGen": T.cos(), "LRAN": torch.full_like(T, math.nan)}, "angle")
    errors = {"KoopGen": (T.tolist(), (0.1 + T).tolist()), "LRAN": (T.tolist(), [math.inf] * 31)}
    return forecasts_with_error_growth("growth", example, errors, "title", "RMSE", "alt")


def law() -> Figure:
    return frequency_law(
        "law", {"KoopGen": ([0.0, 0.5], [0.8, 0.7])}, ([-1.0, 0.9], [1.0, 0.5]), "title", "alt"
    )


def lines() -> Figure:
    return curves(
        "lines", {"KoopGen, a": ([1, 2], [1, 2]), "KoopGen, b": ([1], [0.0])}, "title", ("x", "y"), "alt"
    )


def fields() -> Figure:
    turned = torch.stack([-POINTS[:, 1], POINTS[:, 0]], 1)
    return vector_fields(
        "fields",
        [PlaneField("a", POINTS, turned), PlaneField("b", POINTS, 0 * turned)],
        ("x", "y"),
        "t",
        "alt",
    )


def attractor() -> Figure:
    maps = [ColourMap("a", POINTS[:, 0], centred=True), ColourMap("b", torch.ones(25))]
    return attractor_maps("maps", POINTS, maps, ("x", "y"), "title", "alt")


def space_time() -> Figure:
    return space_time_maps(
        "space-time",
        [SpaceTime("truth", torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))],
        1.0,
        22.0,
        "t",
        "alt",
    )


@pytest.mark.parametrize("draw", [growth, law, lines, fields, attractor, space_time])
def test_pictures_are_the_same_bytes_for_the_same_numbers(draw: Callable[[], Figure]) -> None:
    first, second = draw(), draw()
    assert first.png == second.png
    assert len(first.png) > 5000


def test_a_model_has_one_colour_whatever_it_is_called() -> None:
    assert family("deep_koopman, radius") == "DeepKoopman"
    assert colour("koopgen") == colour("KoopGen, capped") == COLOURS["KoopGen"]
    assert colour("truth") not in COLOURS.values()
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_portraits_of_a_model_over_a_system() -> None:
    data = get_system("lorenz63").generate(3, 10, seed=0)
    drawn = portraits(KoopGen(3, 6, dt=0.01, hidden=8), data)
    assert [figure.name for figure in drawn] == ["lorenz63-fields", "lorenz63-maps"]
    assert all("lorenz63" in figure.alt for figure in drawn)
