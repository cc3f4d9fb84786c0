"""Pictures are PNG files with a text for those who do not see them, the same bytes for the same numbers."""

from collections.abc import Callable

import numpy as np
import pytest

from gmaplatent.alignment import GMapLatent
from gmaplatent.data import blobs
from gmaplatent.figures import (
    curve_strip,
    merged_cells,
    planar_curves,
    slot_colours,
    stages,
    strip,
    translation_grid,
)
from tenfold.claims import Figure

METHODS = ("global", "hierarchical", "assignment")


def aligned(method: str) -> GMapLatent:
    drawn = blobs(3, 20)
    return GMapLatent(merge=method).fit(drawn.codes, drawn.labels, drawn.codes, drawn.labels)


def images(channels: int, count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(count, channels, 8, 8))


def grid() -> Figure:
    return translation_grid("grid", [("source", images(1)), ("ours", images(3))], "Translations", "Two rows.")


def curve() -> Figure:
    return curve_strip("curve", images(1, 40), images(1, 40), "A curve", "Two rows.")


def plane() -> Figure:
    drawn = blobs(3, 20)
    side = ("source", drawn.codes, drawn.labels, drawn.codes[:5])
    return planar_curves([side, side], "plane", "A curve")


@pytest.mark.parametrize(
    "draw",
    [grid, curve, plane, *((lambda m=m: stages(aligned(m).stages_[0], "stages", "Steps")) for m in METHODS)],
)
def test_pictures_are_the_same_bytes_for_the_same_numbers(draw: Callable[[], Figure]) -> None:
    first, second = draw(), draw()
    assert first.png == second.png
    assert len(first.png) > 4000


@pytest.mark.parametrize("method", ["global", "hierarchical"])
def test_merged_cells_tile_the_disk_and_hold_their_points(method: str) -> None:
    merged = aligned(method).stages_[0].merged
    cells = merged_cells(merged)
    assert len(cells) == len(merged.positions)
    area = sum(_area(c) for c in cells)
    assert area == pytest.approx(merged.domain.area, rel=1e-9)
    centres = np.stack([_centroid(c) for c in cells])
    np.testing.assert_allclose(centres, merged.positions, atol=1e-9)


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _centroid(ring: np.ndarray) -> np.ndarray:
    import shapely

    return np.array(shapely.Polygon(ring).centroid.coords[0])


def test_assignment_has_no_cells() -> None:
    assert merged_cells(aligned("assignment").stages_[0].merged) == []


def test_colours_are_all_different_for_as_many_clusters_as_there_may_be() -> None:
    assert all(len(set(slot_colours(k))) == k for k in (1, 8, 9, 15, 20))


def test_a_strip_shows_images_side_by_side() -> None:
    found = strip(np.stack([np.zeros((1, 2, 2)), np.ones((1, 2, 2))]), gap=1)
    assert found.tolist() == [[0, 0, 1, 1, 1]] * 2
    assert strip(images(3)).shape == (8, 6 * 9 - 1, 3)


def test_rows_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same number of images, got \[5, 6\]"):
        translation_grid("grid", [("a", images(1)), ("b", images(1, 5))], "title", "alt")
    with pytest.raises(ValueError, match=r"images must have shape .* got \(6, 2, 8, 8\)"):
        strip(images(2))
