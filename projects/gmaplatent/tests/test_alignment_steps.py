"""The steps of the alignment: slots, merging, meshing, canonical maps, registration, weights of nearest codes."""

import numpy as np
import pytest
from scipy.optimize import nnls

from gmaplatent.alignment import (
    ClusterGraphMismatch,
    make_slots,
    merge_clusters,
    mesh_of,
    register,
    slot_order,
    sunflower,
    to_canonical,
)
from gmaplatent.alignment.interpolate import simplex_weights, vertex_codes
from gmaplatent.alignment.layout import planar_layout
from gmaplatent.alignment.translate import ring_angles
from gmaplatent.geometry import BijectivityError, DisconnectedClusterError, map_quality, sectors


def blobs(n_clusters, seed=0, sizes=30, anisotropic=True):
    rng = np.random.default_rng(seed)
    counts = np.full(n_clusters, sizes) if np.isscalar(sizes) else np.array(sizes)
    labels = np.repeat(np.arange(n_clusters), counts)
    shape = rng.normal(size=(n_clusters, 2, 2)) if anisotropic else np.tile(np.eye(2), (n_clusters, 1, 1))
    points = 3 * rng.normal(size=(n_clusters, 2))[labels]
    return points + 0.5 * np.einsum("nij,nj->ni", shape[labels], rng.normal(size=points.shape)), labels


def merged(n_clusters, method="hierarchical", seed=0, sizes=30, **options):
    points, labels = blobs(n_clusters, seed, sizes)
    slots = make_slots(points, labels, n_clusters)
    return merge_clusters(slots(points, labels), labels, slots.centres, method, **options)


# --- translation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 10])
def test_the_disks_of_the_clusters_do_not_meet_and_fit_into_the_unit_disk(n_clusters):
    points, labels = blobs(n_clusters)
    slots = make_slots(points, labels, n_clusters)
    moved = slots(points, labels)
    assert np.linalg.norm(moved, axis=1).max() < 1
    reach = [np.linalg.norm(moved[labels == k] - slots.centres[k], axis=1).max() for k in range(n_clusters)]
    for i in range(n_clusters):
        for j in range(i):
            assert np.linalg.norm(slots.centres[i] - slots.centres[j]) > reach[i] + reach[j]


def test_translation_moves_clusters_as_they_are():
    points, labels = blobs(3)
    slots = make_slots(points, labels, 3)
    own = points[labels == 1]
    moved = slots(points, labels)[labels == 1]
    assert np.allclose(moved - moved.mean(0), slots.unit * (own - own.mean(0)))


def test_equal_size_and_radial_axes():
    points, labels = blobs(4, seed=2)
    slots = make_slots(points, labels, 4, equal_size=True, radial=True)
    moved = slots(points, labels)
    spread = [moved[labels == k] - moved[labels == k].mean(0) for k in range(4)]
    assert np.ptp([np.sqrt((s**2).sum(1).mean()) for s in spread]) < 1e-12
    for k, s in enumerate(spread):
        axis = np.linalg.eigh(s.T @ s)[1][:, -1]
        outwards = np.array([np.cos(ring_angles(4)[k]), np.sin(ring_angles(4)[k])])
        assert abs(axis @ outwards) == pytest.approx(1)


def test_clusters_on_a_ring_keep_their_order():
    angle = ring_angles(6) + 0.3
    order = np.array([3, 1, 5, 0, 2, 4])
    found = slot_order(5 * np.stack([np.cos(angle), np.sin(angle)], 1)[np.argsort(order)] + [9, 9]).tolist()
    start = found.index(order[0])
    assert found[start:] + found[:start] == order.tolist()


# --- merging -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["global", "hierarchical"])
@pytest.mark.parametrize("mass", ["equal", "sample"])
def test_masses_are_those_that_were_asked_for(method, mass):
    result = merged(4, method, sizes=[10, 20, 60, 70], mass=mass)
    assert result.mass_error <= 1e-6
    areas = np.zeros(4)
    if method == "global":
        (transport,) = result.transports
        np.add.at(areas, result.labels, transport.diagram.masses)
    else:
        areas = np.array([cell.area for cell in result.cells]) / result.domain.area
    wanted = np.full(4, 0.25) if mass == "equal" else np.array([10, 20, 60, 70]) / 160
    assert np.allclose(areas, wanted, atol=1e-6)


def test_equal_masses_give_equal_sectors():
    result = merged(5)
    for cell, sector in zip(result.cells, sectors(5), strict=True):
        assert np.allclose(cell.vertices, sector.vertices)
    for k, cell in enumerate(result.cells):
        assert cell.contains(result.positions[result.labels == k]).all()


def test_sunflower_sites_are_even():
    sites = sunflower(1000)
    inner = np.linalg.norm(sites, axis=1) < 0.5
    assert inner.mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "merge must be one of global, hierarchical, assignment, got 'magic'"),
        ({"mass": "heavy"}, "mass must be one of equal, sample, got 'heavy'"),
        ({"method": "assignment", "sizes": [10, 20]}, "the clusters have 10 to 20 points; use mass='sample'"),
        (
            {"method": "assignment", "sizes": 2501},
            "takes at most 5000 points, got 5002; use merge='hierarchical'",
        ),
    ],
)
def test_merges_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        merged(**{"n_clusters": 2, **arguments})


# --- meshes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["global", "hierarchical", "assignment"])
@pytest.mark.parametrize("n_clusters", [1, 2, 3])
def test_meshes_have_one_cluster_a_triangle_and_no_chords(n_clusters, method):
    result = merged(n_clusters, method)
    mesh = mesh_of(result)
    assert mesh.areas.min() > 0
    own = mesh.source >= 0
    assert np.array_equal(np.sort(mesh.source[own]), np.arange(len(result.positions)))
    corner = np.where(own, result.labels[np.maximum(mesh.source, 0)], -1)[mesh.triangles]
    assert ((corner == mesh.labels[:, None]) | (corner < 0)).all()
    left, right = mesh.edge_triangles.T
    inside = (right >= 0) & (mesh.labels[left] == mesh.labels[right])
    outline = np.zeros(len(mesh.vertices), bool)
    outline[mesh.edges[~inside]] = True
    assert not (inside & outline[mesh.edges].all(1)).any()


@pytest.mark.parametrize("n_clusters", [1, 2, 5])
def test_two_domains_have_the_same_boundary(n_clusters):
    rings = []
    for seed in (0, 1):
        canonical = to_canonical(mesh_of(merged(n_clusters, seed=seed)))
        ring = canonical.uv[canonical.mesh.boundary_loop]
        rings.append(ring[np.argsort(np.arctan2(ring[:, 1], ring[:, 0]))])
    assert np.allclose(*rings, atol=1e-12)


def test_a_cluster_that_does_not_reach_the_rim_is_refused():
    result = merged(3, "global")
    order = np.argsort(np.linalg.norm(result.positions, axis=1))
    labels = np.repeat([0, 1, 2], 30)
    labels[order[:30]], labels[order[30:]] = 0, np.where(result.positions[order[30:], 0] > 0, 1, 2)
    with pytest.raises(
        DisconnectedClusterError, match="must reach the boundary in one piece, got cluster 0 in 0 pieces"
    ):
        mesh_of(type(result)(result.positions, labels, result.domain, None, "global", 0.0))


# --- canonical maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["disk", "polygon"])
@pytest.mark.parametrize("interface", ["pinned", "sliding"])
def test_cells_become_convex_without_a_flip(shape, interface):
    canonical = to_canonical(mesh_of(merged(6, "global")), shape=shape, interface=interface)
    quality = map_quality(canonical.mesh.vertices, canonical.uv, canonical.mesh.triangles)
    assert quality.flips == 0
    assert quality.total_area == pytest.approx(canonical.area, abs=1e-9)
    for arc in canonical.graph.arcs:
        start, end = canonical.uv[arc[0]], canonical.uv[arc[-1]]
        normal = np.array([-(end - start)[1], (end - start)[0]])
        assert np.abs((canonical.uv[arc] - start) @ normal).max() < 1e-9


def test_sectors_are_canonical_already():
    mesh = mesh_of(merged(5))
    assert np.allclose(to_canonical(mesh).uv, mesh.vertices, atol=1e-10)


def test_a_polygon_of_two_sides_is_refused():
    with pytest.raises(ValueError, match="a polygon needs at least three clusters, got 2; use shape='disk'"):
        to_canonical(mesh_of(merged(2)), shape="polygon")
    with pytest.raises(ValueError, match="shape must be one of disk, polygon, got 'star'"):
        to_canonical(mesh_of(merged(2)), shape="star")


# --- registration ------------------------------------------------------------------------------------------------------


def test_equal_subdivisions_are_registered_by_the_identity():
    source, target = (to_canonical(mesh_of(merged(4, seed=seed))) for seed in (0, 1))
    assert register(source, target) is source.uv


def test_other_interfaces_are_refused():
    source, target = (to_canonical(mesh_of(merged(4, method))) for method in ("hierarchical", "global"))
    with pytest.raises(ClusterGraphMismatch, match=r"slots \[\(0, 1, 2, 3\)\] only in the source"):
        register(source, target)


def test_landmarks_are_met_and_nothing_flips():
    source, target = (to_canonical(mesh_of(merged(3, seed=seed))) for seed in (0, 1))
    goals = np.stack(
        [target.uv[target.mesh.triangles[target.mesh.labels == k]].mean((0, 1)) for k in range(3)]
    )
    own = np.flatnonzero(source.mesh.source >= 0)
    distance = np.linalg.norm(source.uv[own][:, None] - goals, axis=-1)
    # Not the nearest ones: they have to be moved by more than the size of a triangle.
    chosen = own[np.abs(distance - 0.15).argmin(0)]
    assert np.linalg.norm(source.uv[chosen] - goals, axis=1).min() > 0.05
    image = register(source, target, (chosen, goals))
    assert np.allclose(image[chosen], goals, atol=1e-9)
    assert map_quality(source.uv, image, source.mesh.triangles).flips == 0


def test_landmarks_that_would_have_to_cross_a_border_are_an_error():
    source = to_canonical(mesh_of(merged(3)))
    vertex = np.flatnonzero(source.mesh.source >= 0)[:1]
    with pytest.raises(BijectivityError, match="cannot be reached without flipping a triangle"):
        register(source, source, (vertex, np.array([[5.0, 5.0]])))


# --- codes -------------------------------------------------------------------------------------------------------------


def test_simplex_weights_are_the_best_convex_combination():
    rng = np.random.default_rng(0)
    codes, query = rng.normal(size=(40, 6)), rng.normal(size=(25, 6))
    rows, weights = simplex_weights(query, codes, k=5, ridge=1e-3)
    assert (weights >= 0).all()
    assert np.allclose(weights.sum(1), 1)
    for z, near, w in zip(query, rows, weights, strict=True):
        to = codes[near] - z
        ridge = 1e-3 * (to**2).sum() / 5
        # The sum of one as a row that weighs a lot.
        system = np.vstack([to.T, np.sqrt(ridge) * np.eye(5), 1e5 * np.ones((1, 5))])
        reference = nnls(system, np.concatenate([np.zeros(11), [1e5]]))[0]
        assert np.allclose(w, reference, atol=1e-5)


def test_a_training_code_gets_itself():
    codes = np.random.default_rng(0).normal(size=(30, 4))
    rows, weights = simplex_weights(codes, codes)
    assert np.array_equal(rows[np.arange(30), weights.argmax(1)], np.arange(30))
    assert np.allclose(weights.max(1), 1)


def test_vertex_codes_are_convex_combinations_of_one_cluster():
    result = merged(3, "global")
    mesh = mesh_of(result)
    codes = np.eye(3)[result.labels]
    for k in range(3):
        values = vertex_codes(mesh, k, codes)
        used = np.unique(mesh.triangles[mesh.labels == k])
        assert np.allclose(values[used], np.eye(3)[k])
        assert np.isnan(np.delete(values, used, axis=0)).all()


# --- layouts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["pca", "tsne", lambda codes: codes[:, 1:3]])
def test_layouts_have_two_coordinates_and_repeat(layout):
    codes = np.random.default_rng(0).normal(size=(60, 5))
    first, second = (planar_layout(codes, layout, 0) for _ in range(2))
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)


@pytest.mark.slow
def test_umap_repeats():
    pytest.importorskip("umap")
    codes = np.random.default_rng(0).normal(size=(60, 5))
    first, second = (planar_layout(codes, "auto", 3) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("identity", "needs codes with 2 dimensions, got 5; use 'umap'"),
        ("isomap", "layout must be one of auto, identity, umap, tsne, pca or a function, got 'isomap'"),
        (lambda codes: codes, r"layout must return an array of shape \(6, 2\), got \(6, 5\)"),
    ],
)
def test_layouts_that_cannot_be_are_refused(layout, message):
    with pytest.raises(ValueError, match=message):
        planar_layout(np.zeros((6, 5)), layout, 0)
