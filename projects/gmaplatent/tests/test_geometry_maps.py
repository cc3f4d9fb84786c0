"""Labelled meshes, Laplacians, harmonic maps: exact areas, no flips, agreement with libigl."""

import numpy as np
import pytest

from gmaplatent.geometry import (
    BijectivityError,
    DisconnectedClusterError,
    Line,
    Locator,
    beltrami,
    constrained_harmonic_map,
    delaunay_flips,
    dirichlet_energy,
    disk,
    feature_graph,
    label_subdivide,
    laplacian,
    lipschitz_constants,
    map_quality,
    semidiscrete_ot,
    signed_areas,
    triangulate,
    tutte_embedding,
)
from gmaplatent.geometry.laplacian import Weights

KINDS: list[Weights] = ["cotan", "delaunay", "mean_value", "uniform"]


def merged(n_clusters, seed=0, per_cluster=30):
    """A labelled mesh of the disk from blobs whose gaps optimal transport has closed."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_clusters), per_cluster)
    angle = 2 * np.pi * (np.arange(n_clusters) + 0.5) / n_clusters
    slots = 0.7 * np.stack([np.cos(angle), np.sin(angle)], 1)
    points = slots[labels] + 0.1 / np.sqrt(n_clusters) * rng.normal(size=(len(labels), 2)).clip(-2, 2)
    domain = disk(24 * n_clusters)
    inner, outer = semidiscrete_ot(points, domain=domain).centroids, domain.vertices
    nearest = ((outer[:, None] - inner) ** 2).sum(-1).argmin(1)
    vertices = np.vstack([inner, outer])
    return label_subdivide(vertices, triangulate(vertices), np.concatenate([labels, labels[nearest]])), domain


def circle(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], 1)


# --- meshes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_clusters", [2, 3, 6, 10])
def test_subdivision_keeps_the_area_and_gives_every_triangle_one_label(n_clusters):
    mesh, domain = merged(n_clusters)
    assert mesh.areas.min() > 0
    assert mesh.areas.sum() == pytest.approx(domain.area, abs=1e-9)
    own = mesh.source[mesh.triangles] >= 0
    kind = np.repeat(np.arange(n_clusters), 30)
    inner = own & (mesh.source[mesh.triangles] < len(kind))
    corner = kind[np.where(inner, mesh.source[mesh.triangles], 0)]
    assert (corner == mesh.labels[:, None])[inner].all()


def test_three_labels_in_a_triangle_meet_in_its_middle():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mesh = label_subdivide(corners, np.array([[0, 1, 2]]), [4, 5, 6])
    assert sorted(mesh.labels.tolist()) == [4, 4, 5, 5, 6, 6]
    assert mesh.areas.sum() == pytest.approx(0.5)
    assert np.allclose([mesh.areas[mesh.labels == k].sum() for k in (4, 5, 6)], 1 / 6)
    assert mesh.source.tolist() == [0, 1, 2, -1, -1, -1, -1]


@pytest.mark.parametrize("n_clusters", [3, 4, 6, 10])
def test_the_interfaces_are_a_halin_graph(n_clusters):
    mesh, _ = merged(n_clusters)
    graph = feature_graph(mesh)
    assert len(graph.boundary_nodes) == n_clusters
    assert len(graph.inner_nodes) == n_clusters - 2
    assert all(len(labels) == 3 for labels in graph.junctions.values())
    assert sorted(graph.outer_labels) == list(range(n_clusters))
    assert len(graph.arcs) == n_clusters + (n_clusters - 3)
    follows = [(b - a) % n_clusters for a, b in zip(graph.outer_labels, graph.outer_labels[1:], strict=False)]
    assert set(follows) == {1}


def test_two_clusters_have_one_interface_and_no_junction():
    graph = feature_graph(merged(2)[0])
    assert (len(graph.boundary_nodes), len(graph.inner_nodes), len(graph.arcs)) == (2, 0, 1)


def test_one_cluster_has_no_interface():
    graph = feature_graph(merged(1)[0])
    assert graph.arcs == []
    assert graph.outer_labels == [0]


def test_a_cluster_in_two_pieces_is_refused():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    fan = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    mesh = label_subdivide(corners, fan, [1, 0, 1, 0, 0])
    with pytest.raises(DisconnectedClusterError, match="cluster 1 in 2 pieces; raise the margin"):
        feature_graph(mesh)


def test_location_finds_every_point():
    mesh, domain = merged(5)
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (400, 2))
    points = points[domain.contains(points, 0)]
    found = Locator(mesh.vertices, mesh.triangles).locate(points)
    assert found.inside().all()
    back = (mesh.vertices[mesh.triangles[found.triangle]] * found.barycentric[..., None]).sum(1)
    assert np.abs(back - points).max() < 1e-12
    assert not Locator(mesh.vertices, mesh.triangles).locate([[3.0, 0.0]]).inside()[0]


# --- Laplacians --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_rows_add_up_to_zero(kind):
    mesh, _ = merged(4)
    matrix = laplacian(mesh.vertices, mesh.triangles, kind)
    assert np.abs(matrix.sum(1)).max() < 1e-11
    if kind != "mean_value":
        assert abs(matrix - matrix.T).max() < 1e-12


def test_cotangents_and_harmonic_maps_are_those_of_libigl():
    igl = pytest.importorskip("igl")
    mesh, _ = merged(6)
    ours = laplacian(mesh.vertices, mesh.triangles, "cotan")
    assert abs(ours + igl.cotmatrix(mesh.vertices, mesh.triangles)).max() < 1e-10
    loop = mesh.boundary_loop
    theirs = igl.harmonic(mesh.vertices, mesh.triangles, loop.astype(np.int64), circle(len(loop)), 1)
    mapped = constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, circle(len(loop)))
    assert mapped.weights == "cotan"
    assert np.abs(mapped.uv - theirs).max() < 1e-10


def spoiled(points):
    """The Delaunay triangulation with as many edges flipped as possible, one a triangle, and the number of flips."""
    triangles = triangulate(points)
    edges = {(t[k], t[(k + 1) % 3]): n for n, t in enumerate(triangles.tolist()) for k in range(3)}
    spent = set()
    for (a, b), left in edges.items():
        right = edges.get((b, a))
        if right is None or left in spent or right in spent:
            continue
        c, d = (next(v for v in triangles[t].tolist() if v not in (a, b)) for t in (left, right))
        pair = np.array([[c, a, d], [d, b, c]])
        if (signed_areas(points, pair) > 1e-4).all():
            triangles[[left, right]] = pair
            spent |= {left, right}
    return triangles, len(spent) // 2


def test_flipped_edges_give_the_delaunay_triangulation():
    points = np.random.default_rng(0).uniform(size=(60, 2))
    delaunay, (triangles, n_flips) = triangulate(points), spoiled(points)
    matrix = laplacian(points, delaunay, "cotan")
    assert n_flips > 10
    assert abs(laplacian(points, triangles, "cotan") - matrix).max() > 0.1
    restored = delaunay_flips(points, triangles)
    assert {tuple(sorted(t)) for t in restored.tolist()} == {tuple(sorted(t)) for t in delaunay.tolist()}
    assert abs(laplacian(points, triangles, "delaunay") - matrix).max() < 1e-9


# --- harmonic maps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cotan", "delaunay", "mean_value"])
def test_an_affine_boundary_gives_the_affine_map(kind):
    mesh, _ = merged(5)
    affine = mesh.vertices @ np.array([[1.2, 0.1], [0.3, 0.7]]) + [0.5, -2.0]
    loop = mesh.boundary_loop
    mapped = constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, affine[loop], weights=kind)
    assert np.abs(mapped.uv - affine).max() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_clusters", [3, 10])
def test_a_convex_boundary_gives_a_bijection(n_clusters, kind):
    mesh, _ = merged(n_clusters)
    loop = mesh.boundary_loop
    mapped = constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, circle(len(loop)), weights=kind)
    quality = map_quality(mesh.vertices, mapped.uv, mesh.triangles)
    assert quality.flips == 0
    assert quality.total_area == pytest.approx(disk(len(loop)).area, abs=1e-9)
    assert quality.max_distortion < 1


def test_the_solution_has_the_least_energy():
    mesh, _ = merged(4)
    loop = mesh.boundary_loop
    matrix = laplacian(mesh.vertices, mesh.triangles)
    mapped = constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, circle(len(loop)))
    inner = np.setdiff1d(np.arange(len(mesh.vertices)), loop)
    assert np.abs((matrix @ mapped.uv)[inner]).max() < 1e-10
    least = dirichlet_energy(matrix, mapped.uv)
    for seed in range(5):
        other = mapped.uv.copy()
        other[inner] += 1e-3 * np.random.default_rng(seed).normal(size=(len(inner), 2))
        assert dirichlet_energy(matrix, other) > least


def test_sliding_has_less_energy_than_pinning_and_stays_on_the_line():
    mesh, _ = merged(2)
    graph = feature_graph(mesh)
    loop, (chain,) = mesh.boundary_loop, graph.arcs
    targets = circle(len(loop))
    image = dict(zip(loop.tolist(), targets, strict=True))
    start, end = image[chain[0]], image[chain[-1]]
    line = Line(tuple(chain), tuple(start), tuple(end))
    sliding = constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, targets, (line,))
    assert sliding.pinned_lines == ()
    normal = np.array([-(end - start)[1], (end - start)[0]])
    assert np.abs((sliding.uv[chain] - start) @ normal).max() < 1e-10
    s = np.linspace(0, 1, len(chain))[1:-1, None]
    fixed = np.concatenate([loop, chain[1:-1]])
    spread = np.vstack([targets, (1 - s) * start + s * end])
    pinned = constrained_harmonic_map(mesh.vertices, mesh.triangles, fixed, spread)
    matrix = laplacian(mesh.vertices, mesh.triangles)
    assert dirichlet_energy(matrix, sliding.uv) < dirichlet_energy(matrix, pinned.uv)
    assert sliding.weights == pinned.weights == "cotan"


def test_flips_change_the_weights_and_the_result_says_so():
    # Two obtuse angles opposite to the edge from the middle (5) to the tip (0): its cotangent weight is -2.4, and
    # when the tip is pulled away from the others, the middle goes the other way, out of the domain.
    vertices = np.array([[1.0, 0.0], [0.5, 0.1], [-1.0, 1.0], [-1.0, -1.0], [0.5, -0.1], [0.0, 0.0]])
    fan = np.array([[k, (k + 1) % 5, 5] for k in range(5)])
    assert laplacian(vertices, fan, "cotan")[0, 5] == pytest.approx(2.4)
    angle = np.radians([0, 140, 155, 205, 220])
    targets = np.stack([np.cos(angle), np.sin(angle)], 1)
    mapped = constrained_harmonic_map(vertices, fan, range(5), targets)
    assert mapped.flipped["cotan"] > 0
    assert mapped.weights in ("delaunay", "uniform")
    assert (signed_areas(mapped.uv, fan) > 0).all()
    assert constrained_harmonic_map(vertices, fan, range(5), targets, weights="mean_value").flipped == {}


def test_a_boundary_in_the_wrong_order_is_an_error():
    mesh, _ = merged(3)
    loop = mesh.boundary_loop
    with pytest.raises(BijectivityError, match="triangles are flipped with all weights tried") as caught:
        constrained_harmonic_map(mesh.vertices, mesh.triangles, loop, circle(len(loop))[::-1])
    assert len(caught.value.triangles) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fixed_uv": np.zeros((2, 2))}, r"fixed_uv must have shape \(3, 2\)"),
        ({"fixed": [0, 1, 1]}, "names a vertex twice"),
        ({"weights": "cotangent"}, "weights must be one of cotan, delaunay, mean_value, uniform"),
        ({"triangles": [[0, 2, 1]]}, "counter-clockwise with positive area"),
    ],
)
def test_input_that_cannot_be_is_refused(arguments, message):
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    defaults = {"vertices": corners, "triangles": [[0, 1, 2]], "fixed": [0, 1, 2], "fixed_uv": corners}
    with pytest.raises(ValueError, match=message):
        constrained_harmonic_map(**{**defaults, **arguments})


def test_tuttes_embedding_of_a_wheel_has_its_hub_in_the_middle():
    rim = circle(5)
    edges = [(k, (k + 1) % 5) for k in range(5)] + [(k, 5) for k in range(5)]
    assert np.allclose(tutte_embedding(6, edges, range(5), rim)[5], 0, atol=1e-15)


def test_stretch_and_beltrami_coefficient_of_a_linear_map():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    triangle = np.array([[0, 1, 2]])
    stretched = corners @ np.diag([4.0, 2.0])
    assert lipschitz_constants(corners, stretched, triangle) == pytest.approx([4.0])
    assert np.abs(beltrami(corners, stretched, triangle)) == pytest.approx([1 / 3])
