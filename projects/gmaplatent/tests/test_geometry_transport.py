"""Polygons, power diagrams, semi-discrete optimal transport: exact masses, and the calculus of the energy."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gmaplatent.geometry import (
    ConvexPolygon,
    NotConvergedError,
    disk,
    power_diagram,
    sectors,
    semidiscrete_ot,
)

SQUARE = ConvexPolygon(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))


def in_disk(n, seed=0, radius=0.95):
    rng = np.random.default_rng(seed)
    angle, r = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.uniform(size=n))
    return np.stack([r * np.cos(angle), r * np.sin(angle)], 1)


def clusters(n, seed=0, n_clusters=10, width=0.05):
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(n_clusters) + 0.5) / n_clusters
    centres = 0.7 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centres[rng.integers(n_clusters, size=n)] + width * rng.normal(size=(n, 2)).clip(-3, 3)


# --- polygons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_sectors", [1, 2, 3, 7])
def test_sectors_are_equal_and_tile_the_disk(n_sectors):
    parts = sectors(n_sectors, 24)
    assert sum(p.area for p in parts) == pytest.approx(disk(n_sectors * 24).area, abs=1e-12)
    assert np.ptp([p.area for p in parts]) < 1e-12
    assert all(p.contains(p.centroid[None])[0] for p in parts)


def test_clipped_segments_are_the_parts_inside():
    start = np.array([[-1.0, 0.5], [0.2, 0.2], [-1.0, 2.0], [0.5, -1.0]])
    end = np.array([[2.0, 0.5], [0.4, 0.2], [2.0, 2.0], [0.5, 0.25]])
    a, b = SQUARE.clip_segments(start, end)
    assert np.allclose(np.linalg.norm(b - a, axis=1), [1.0, 0.2, 0.0, 0.25])


def test_boundary_points_are_equally_far_apart():
    points = SQUARE.boundary(8)
    assert np.allclose(points[:3], [[0, 0], [0.5, 0], [1, 0]])


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ([[0, 0], [1, 0]], r"shape \(m, 2\) with m >= 3"),
        ([[0, 0], [0, 1], [1, 1], [1, 0]], "counter-clockwise"),
        ([[0, 0], [2, 0], [1, 0.2], [1, 2]], "convex"),
        ([[0, 0], [1, 0], [np.nan, 1]], "finite"),
    ],
)
def test_polygons_that_are_none_are_refused(vertices, message):
    with pytest.raises(ValueError, match=message):
        ConvexPolygon(np.array(vertices, float))


# --- power diagrams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 300])
@pytest.mark.parametrize("domain", [disk(), SQUARE, sectors(5)[1]], ids=["disk", "square", "sector"])
def test_cells_tile_the_domain_and_are_those_of_the_definition(n, domain):
    rng = np.random.default_rng(n)
    sites, weights = in_disk(n, n), rng.normal(size=n) * 0.2 / n
    diagram = power_diagram(sites, weights, domain)
    assert diagram.areas.sum() == pytest.approx(domain.area, abs=1e-12)
    low, high = domain.vertices.min(0), domain.vertices.max(0)
    x = low + (high - low) * rng.uniform(size=(8_000, 2))
    x = x[domain.contains(x, 0)]
    distance = ((x[:, None] - sites) ** 2).sum(-1) if n < 50 else np.square(x[:, None] - sites).sum(-1)
    nearest = (distance - weights).argmin(1)
    share = np.bincount(nearest, minlength=n) / len(x)
    assert np.abs(share - diagram.masses).max() < 5 * 0.5 / np.sqrt(len(x))
    cost = (distance[np.arange(len(x)), nearest]).mean()
    assert diagram.costs.sum() == pytest.approx(cost, rel=0.08)
    big = int(share.argmax())
    assert np.allclose(diagram.centroids[big], x[nearest == big].mean(0), atol=0.05)


def test_a_constant_added_to_the_weights_changes_nothing():
    sites, weights = in_disk(30), np.linspace(0, 0.05, 30)
    one, other = (power_diagram(sites, weights + c, disk()) for c in (0.0, 7.0))
    assert np.allclose(one.areas, other.areas, atol=1e-12)


def test_a_hidden_site_has_no_cell():
    diagram = power_diagram([[0.0, 0.0], [0.1, 0.0], [0.5, 0.0]], [1.0, 0.0, 1.0], disk())
    assert diagram.areas[1] == 0
    assert len(diagram.polygon(1)) == 0
    assert np.isnan(diagram.centroids[1]).all()


def test_common_edges_have_their_length():
    diagram = power_diagram([[0.25, 0.5], [0.75, 0.5]], None, SQUARE)
    assert diagram.pairs.tolist() == [[0, 1]]
    assert diagram.lengths == pytest.approx([1.0])


def test_sites_on_a_ring_meet_in_one_point():
    angle = 2 * np.pi * (np.arange(6) + 0.5) / 6
    diagram = power_diagram(0.6 * np.stack([np.cos(angle), np.sin(angle)], 1), None, disk(6 * 24))
    assert np.allclose(diagram.masses, 1 / 6, atol=1e-12)


# --- transport ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [in_disk(50), in_disk(400), clusters(400), in_disk(200, radius=0.1)])
def test_masses_are_exact(points):
    transport = semidiscrete_ot(points)
    assert transport.mass_error <= 1e-8
    assert transport.iterations <= 10


def test_unequal_masses():
    masses = np.linspace(1, 10, 60)
    transport = semidiscrete_ot(clusters(60, n_clusters=3), masses / masses.sum())
    assert np.abs(transport.diagram.masses - masses / masses.sum()).max() <= 1e-8


def test_the_map_is_monotone():
    transport = semidiscrete_ot(clusters(80))
    x = in_disk(300, seed=1, radius=1)
    x = x[transport.diagram.domain.contains(x)]
    y = transport(x)
    assert np.einsum("ijk,ijk->ij", x[:, None] - x, y[:, None] - y).min() >= -1e-12


def test_the_map_sends_each_cell_to_its_point():
    transport = semidiscrete_ot(in_disk(40))
    assert np.array_equal(transport(transport.centroids), transport.points)


def test_the_cost_is_that_of_the_assignment_of_many_samples():
    points = clusters(20, n_clusters=4)
    transport = semidiscrete_ot(points)
    x = in_disk(800, seed=3, radius=1.0)
    distance = np.repeat(((x[:, None] - points) ** 2).sum(-1), 40, axis=1)
    rows, columns = linear_sum_assignment(distance)
    assert transport.cost == pytest.approx(distance[rows, columns].mean(), rel=0.1)


def test_the_gradient_of_the_energy_is_the_error_of_the_masses():
    points, masses = in_disk(12), np.full(12, 1 / 12)
    weights = 0.02 * np.random.default_rng(0).normal(size=12)

    def energy(h):
        from gmaplatent.geometry.semidiscrete import Transport

        w = 2 * h + (points**2).sum(1)
        return Transport(points, masses, power_diagram(points, w, disk()), 0, ()).energy

    h = (weights - (points**2).sum(1)) / 2
    measured = [(energy(h + 1e-5 * e) - energy(h - 1e-5 * e)) / 2e-5 for e in np.eye(12)]
    exact = power_diagram(points, weights, disk()).masses - masses
    assert np.allclose(measured, exact, atol=1e-8)


def test_newtons_matrix_is_the_derivative_of_the_masses_and_has_one_kernel_vector():
    from gmaplatent.geometry.semidiscrete import _direction

    points, weights = in_disk(12), np.zeros(12)
    state = power_diagram(points, weights, disk())
    aim = np.random.default_rng(0).normal(size=12)
    aim -= aim.mean()
    direction = _direction(state, aim)
    step = 1e-6
    ahead, behind = (power_diagram(points, s * step * direction, disk()).masses for s in (1, -1))
    assert np.allclose((ahead - behind) / (2 * step), aim, atol=1e-6)


def test_equal_slots_on_a_ring_get_equal_sectors():
    angle = 2 * np.pi * (np.arange(5) + 0.5) / 5
    transport = semidiscrete_ot(0.7 * np.stack([np.cos(angle), np.sin(angle)], 1), domain=disk(5 * 24))
    for k, sector in enumerate(sectors(5)):
        assert np.allclose(transport.centroids[k], sector.centroid, atol=1e-9)


def test_coinciding_points_are_moved_apart():
    points = np.repeat(in_disk(20), 2, axis=0)
    transport = semidiscrete_ot(points)
    assert transport.mass_error <= 1e-8
    assert np.abs(transport.points - points).max() < 1e-6


def test_one_point_gets_everything():
    transport = semidiscrete_ot([[0.3, 0.1]])
    assert transport.diagram.masses == pytest.approx([1.0])
    assert np.allclose(transport.centroids, 0, atol=1e-12)


def test_turning_and_permuting_the_points_turns_and_permutes_the_result():
    domain, points = disk(120), clusters(60, n_clusters=3)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    order = np.random.default_rng(0).permutation(60)
    plain, other = (
        semidiscrete_ot(points, domain=domain),
        semidiscrete_ot(points[order] @ turn.T, domain=domain),
    )
    assert np.allclose(other.centroids, plain.centroids[order] @ turn.T, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": np.zeros((3, 3))}, r"points must have shape \(n, 2\)"),
        ({"points": [[np.inf, 0.0]]}, "points must be finite; number 0 is not"),
        ({"points": [[0.0, 0.0], [2.0, 0.0]]}, r"number 1 at \[2.0, 0.0\] does not"),
        ({"points": [[0.0, 0.0]], "masses": [0.5, 0.5]}, r"masses must have shape \(1,\)"),
        ({"points": in_disk(2), "masses": [1.0, 0.0]}, "masses must be positive"),
        ({"points": in_disk(2), "masses": [1.0, 1.0]}, "masses must add up to 1, got 2.0"),
        ({"points": in_disk(2), "domain": "square"}, "domain must be 'disk'"),
    ],
)
def test_input_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        semidiscrete_ot(**arguments)


def test_too_few_steps_are_an_error_with_the_state():
    with pytest.raises(NotConvergedError, match="after 1 Newton steps") as caught:
        semidiscrete_ot(clusters(200), max_iter=1)
    assert caught.value.transport.mass_error > 1e-8
    assert caught.value.transport.iterations == 1
