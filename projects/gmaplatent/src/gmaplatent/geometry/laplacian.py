"""Edge weights of harmonic maps on triangle meshes: cotangent, intrinsic Delaunay cotangent, mean value, uniform (§3.4)."""

from collections import deque
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from .polygon import cross

Weights = Literal["cotan", "delaunay", "mean_value", "uniform"]
"""`delaunay`: cotangents of the intrinsic Delaunay triangulation, not negative inside but for rounding."""


def laplacian(
    vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"], weights: Weights = "cotan"
) -> sparse.csr_array:
    """L with L[i, j] = −w_ij, rows that sum to 0, so that (L U)_i = Σ_j w_ij (U_i − U_j).

    Cotangent weights ½(cot α_ij + cot β_ij) and uniform ones are symmetric; mean-value weights (Floater 2003) are not.

    Args:
        vertices: (n, 2).
        triangles: (m, 3), counter-clockwise, of positive area.
        weights: which.

    Raises:
        ValueError: for an unknown kind of weights, or triangles of no area.
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights must be one of {', '.join(get_args(Weights))}, got {weights!r}")
    require_area(vertices, triangles)
    n = len(vertices)
    if weights == "uniform":
        pairs = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
        return _assemble(n, pairs[:, 0], pairs[:, 1], np.ones(len(pairs)))
    if weights == "mean_value":
        return _mean_value(vertices, triangles)
    if weights == "delaunay":
        triangles = delaunay_flips(vertices, triangles)
    i, j, w = _cotangents(vertices, triangles)
    return _assemble(n, i, j, w)


def require_area(vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]) -> None:
    """Refuse triangles that are flipped or have no area.

    Raises:
        ValueError: naming the first.
    """
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    flat = np.flatnonzero(cross(b - a, c - a) <= 0)
    if len(flat):
        raise ValueError(
            f"triangles must be counter-clockwise with positive area; {len(flat)} are not, the first is {flat[0]}"
        )


def _assemble(
    n: int, i: Int[np.ndarray, "e"], j: Int[np.ndarray, "e"], w: Float[np.ndarray, "e"]
) -> sparse.csr_array:
    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
    return sparse.coo_array((np.concatenate([-w, -w, w, w]), (rows, columns)), shape=(n, n)).tocsr()


def _cotangents(
    vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> tuple[Int[np.ndarray, "e"], Int[np.ndarray, "e"], Float[np.ndarray, "e"]]:
    """Half the cotangent of the angle opposite to every side of every triangle."""
    i, j, w = [], [], []
    for k in range(3):
        o, a, b = (triangles[:, (k + s) % 3] for s in range(3))
        to_a, to_b = vertices[a] - vertices[o], vertices[b] - vertices[o]
        i.append(a)
        j.append(b)
        w.append((to_a * to_b).sum(1) / cross(to_a, to_b) / 2)
    return np.concatenate(i), np.concatenate(j), np.concatenate(w)


def _mean_value(vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]) -> sparse.csr_array:
    """w_ij = (tan(δ/2) + tan(γ/2)) / |x_i − x_j| with the two angles at i beside the edge: always positive."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, a, b = (triangles[:, (k + s) % 3] for s in range(3))
        to_a, to_b = vertices[a] - vertices[i], vertices[b] - vertices[i]
        length_a, length_b = np.linalg.norm(to_a, axis=1), np.linalg.norm(to_b, axis=1)
        # tan(δ/2) = sin δ / (1 + cos δ).
        half = cross(to_a, to_b) / (length_a * length_b + (to_a * to_b).sum(1))
        rows += [i, i]
        columns += [a, b]
        values += [half / length_a, half / length_b]
    r, c, w = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
    n = len(vertices)
    return sparse.coo_array(
        (np.concatenate([-w, w]), (np.concatenate([r, r]), np.concatenate([c, r]))), shape=(n, n)
    ).tocsr()


def delaunay_flips(
    vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> Int[np.ndarray, "m 3"]:
    """The Delaunay triangulation of the same region, by flipping edges (Lawson): in the plane, the intrinsic one.

    Example:
        >>> kite = np.array([[0.0, 0.0], [2.0, -0.2], [4.0, 0.0], [2.0, 0.2]])
        >>> sorted(map(sorted, delaunay_flips(kite, np.array([[0, 1, 2], [0, 2, 3]])).tolist()))
        [[0, 1, 3], [1, 2, 3]]
    """
    mesh = [list(map(int, t)) for t in triangles]
    beside: dict[tuple[int, int], int] = {}
    for t, corners in enumerate(mesh):
        for k in range(3):
            beside[corners[k], corners[(k + 1) % 3]] = t
    waiting = deque((a, b) for a, b in beside if a < b and (b, a) in beside)
    while waiting:
        a, b = waiting.popleft()
        if (a, b) not in beside or (b, a) not in beside:
            continue
        left, right = beside[a, b], beside[b, a]
        c = next(v for v in mesh[left] if v not in (a, b))
        d = next(v for v in mesh[right] if v not in (a, b))
        if not _in_circle(*(vertices[v] for v in (a, b, c, d))):
            continue
        del beside[a, b], beside[b, a]
        mesh[left], mesh[right] = [c, a, d], [d, b, c]
        for t in (left, right):
            for k in range(3):
                beside[mesh[t][k], mesh[t][(k + 1) % 3]] = t
        waiting.extend((min(edge), max(edge)) for edge in ((a, c), (b, c), (a, d), (b, d)))
    return np.array(mesh)


def _in_circle(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether d lies inside the circle through a, b, c (counter-clockwise), beyond rounding."""
    rows = np.array([a - d, b - d, c - d])
    square = (rows**2).sum(1)
    scale = float(square.max()) ** 2
    return float(np.linalg.det(np.column_stack([rows, square]))) > 1e-12 * scale
