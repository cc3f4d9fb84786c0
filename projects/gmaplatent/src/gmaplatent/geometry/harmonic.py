"""Constrained harmonic maps: some vertices fixed, some sliding on lines, the rest harmonic (§3.4, §A.6)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import splu, spsolve

from .laplacian import Weights, laplacian
from .mesh import signed_areas

FALLBACK: dict[Weights, tuple[Weights, ...]] = {
    "cotan": ("cotan", "delaunay", "uniform"),
    "delaunay": ("delaunay", "uniform"),
    "mean_value": ("mean_value", "uniform"),
    "uniform": ("uniform",),
}
"""What is tried next if a triangle flips. With a convex, pinned boundary uniform weights never flip (Tutte)."""


class BijectivityError(RuntimeError):
    """Triangles stayed flipped after every kind of weights.

    Attributes:
        triangles: their numbers.
    """

    def __init__(self, message: str, triangles: Int[np.ndarray, "f"]):
        super().__init__(message)
        self.triangles = triangles


@dataclass(frozen=True)
class Line:
    """A straight segment that vertices slide along.

    Args:
        chain: vertices from end to end; the two ends are fixed elsewhere, those between slide and keep their order.
        start: the image of the first.
        end: the image of the last.
    """

    chain: tuple[int, ...]
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True, eq=False)
class HarmonicMap:
    """A piecewise linear map of a mesh without flips.

    Args:
        uv: (n, 2), where each vertex goes.
        weights: the kind that was used in the end.
        flipped: kind -> flipped triangles of the kinds that were tried and dropped.
        pinned_lines: lines whose vertices would have passed each other, and were fixed at equal arc length instead.
    """

    uv: Float[np.ndarray, "n 2"]
    weights: Weights
    flipped: Mapping[str, int] = field(default_factory=dict)
    pinned_lines: tuple[int, ...] = ()


def constrained_harmonic_map(
    vertices: ArrayLike,
    triangles: ArrayLike,
    fixed: ArrayLike,
    fixed_uv: ArrayLike,
    lines: tuple[Line, ...] = (),
    weights: Weights = "cotan",
) -> HarmonicMap:
    """Minimise Σ w_ij |U_i − U_j|² with some vertices fixed and some on lines; the map must not flip a triangle.

    If one flips, the next weights of `FALLBACK` are tried, and the result says so.

    Args:
        vertices: (n, 2).
        triangles: (m, 3), counter-clockwise.
        fixed: vertices whose images are given; for a bijection, the whole boundary on a convex curve.
        fixed_uv: their images, (len(fixed), 2).
        lines: segments that other vertices slide along.
        weights: the first kind to try.

    Raises:
        ValueError: for shapes that do not fit, a vertex fixed twice, weights that do not exist.
        BijectivityError: if triangles are flipped with every kind of weights.

    Example:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.4, 0.5]])
        >>> fan = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
        >>> constrained_harmonic_map(square, fan, [0, 1, 2, 3], 2 * square[:4]).uv[4].round(9).tolist()
        [0.8, 1.0]
    """
    v, f = np.asarray(vertices, dtype=np.float64), np.asarray(triangles)
    where, targets = np.asarray(fixed, dtype=np.int64), np.asarray(fixed_uv, dtype=np.float64)
    if targets.shape != (len(where), 2):
        raise ValueError(f"fixed_uv must have shape ({len(where)}, 2), got {targets.shape}")
    if len(np.unique(where)) != len(where):
        raise ValueError("fixed names a vertex twice")
    if weights not in FALLBACK:
        raise ValueError(f"weights must be one of {', '.join(FALLBACK)}, got {weights!r}")
    dropped: dict[str, int] = {}
    bad = np.zeros(0, int)
    for kind in FALLBACK[weights]:
        matrix = laplacian(v, f, kind)
        uv, pinned = _solve(matrix, v, where, targets, lines)
        bad = np.flatnonzero(signed_areas(uv, f) <= 0)
        if not len(bad):
            return HarmonicMap(uv, kind, dropped, pinned)
        dropped[kind] = len(bad)
    raise BijectivityError(
        f"{len(bad)} triangles are flipped with all weights tried ({dropped}), the first are {bad[:5].tolist()}; "
        "is the boundary pinned to a convex curve, in counter-clockwise order, and no triangle fixed to one line?",
        bad,
    )


def _solve(
    matrix: sparse.csr_array,
    vertices: Float[np.ndarray, "n 2"],
    fixed: Int[np.ndarray, "b"],
    targets: Float[np.ndarray, "b 2"],
    lines: tuple[Line, ...],
) -> tuple[Float[np.ndarray, "n 2"], tuple[int, ...]]:
    """The minimiser; lines whose vertices pass each other are pinned, and it is solved again."""
    pinned: tuple[int, ...] = ()
    while True:
        held, images = [fixed], [targets]
        for number in pinned:
            held.append(np.array(lines[number].chain[1:-1], int))
            images.append(chord_positions(vertices, lines[number]))
        sliding = [line for number, line in enumerate(lines) if number not in pinned]
        where, to = np.concatenate(held), np.vstack(images)
        uv = _slide(matrix, where, to, sliding) if sliding else dirichlet(matrix, where, to)
        passed = [
            number for number, line in enumerate(lines) if number not in pinned and not _ordered(uv, line)
        ]
        if not passed:
            return uv, pinned
        pinned = tuple(sorted({*pinned, *passed}))


def chord_positions(vertices: Float[np.ndarray, "n 2"], line: Line) -> Float[np.ndarray, "s 2"]:
    """The inner vertices of a line's chain spread over its segment by their arc length."""
    chain = vertices[list(line.chain)]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(chain, axis=0), axis=1))])
    s = (along / along[-1])[1:-1, None]
    return (1 - s) * np.array(line.start) + s * np.array(line.end)


def _ordered(uv: Float[np.ndarray, "n 2"], line: Line) -> bool:
    direction = np.subtract(line.end, line.start)
    steps = np.diff(uv[list(line.chain)] @ direction)
    return bool((steps > 1e-9 * (direction @ direction)).all())


def dirichlet(
    matrix: sparse.csr_array, fixed: Int[np.ndarray, "b"], targets: Float[np.ndarray, "b 2"]
) -> Float[np.ndarray, "n 2"]:
    """Solve (L U)_i = 0 at every vertex that is not fixed: one factorisation, two right-hand sides."""
    free = np.setdiff1d(np.arange(matrix.shape[0]), fixed)
    uv = np.zeros((matrix.shape[0], 2))
    uv[fixed] = targets
    if len(free):
        rows = matrix[free]
        uv[free] = splu(rows[:, free].tocsc()).solve(-(rows[:, fixed] @ targets))
    return uv


def _slide(
    matrix: sparse.csr_array,
    fixed: Int[np.ndarray, "b"],
    targets: Float[np.ndarray, "b 2"],
    lines: list[Line],
) -> Float[np.ndarray, "n 2"]:
    """u = B q + c: both coordinates of a free vertex are unknown, and one number of a vertex on a line."""
    n = matrix.shape[0]
    constant = np.zeros((n, 2))
    constant[fixed] = targets
    slides = np.concatenate([np.array(line.chain[1:-1], int) for line in lines])
    directions = np.concatenate(
        [np.tile(np.subtract(line.end, line.start), (len(line.chain) - 2, 1)) for line in lines]
    )
    for line in lines:
        constant[list(line.chain[1:-1])] = line.start
    free = np.setdiff1d(np.arange(n), np.concatenate([fixed, slides]))
    unknown = np.arange(len(free))
    basis = []
    for axis in range(2):
        rows = np.concatenate([free, slides])
        columns = np.concatenate([unknown + axis * len(free), 2 * len(free) + np.arange(len(slides))])
        values = np.concatenate([np.ones(len(free)), directions[:, axis]])
        basis.append(
            sparse.coo_array((values, (rows, columns)), shape=(n, 2 * len(free) + len(slides))).tocsr()
        )
    system = sum((b.T @ matrix @ b for b in basis[1:]), basis[0].T @ matrix @ basis[0])
    right = -sum(b.T @ (matrix @ constant[:, axis]) for axis, b in enumerate(basis))
    solution = spsolve(sparse.csc_matrix(system), right)
    return constant + np.stack([b @ solution for b in basis], 1)


def tutte_embedding(
    n_nodes: int, edges: ArrayLike, boundary: ArrayLike, boundary_uv: ArrayLike
) -> Float[np.ndarray, "n 2"]:
    """Every inner node of a graph at the mean of its neighbours (Tutte 1963).

    A planar 3-connected graph with its outer face on a convex polygon gets a drawing with convex faces.

    Args:
        n_nodes: nodes 0 … n_nodes − 1.
        edges: (e, 2); an edge that is listed twice pulls twice.
        boundary: nodes that are given.
        boundary_uv: where they are.
    """
    pairs = np.asarray(edges, dtype=np.int64)
    i, j = pairs.T
    w = np.ones(len(pairs))
    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
    matrix = sparse.coo_array(
        (np.concatenate([-w, -w, w, w]), (rows, columns)), shape=(n_nodes, n_nodes)
    ).tocsr()
    return dirichlet(matrix, np.asarray(boundary, dtype=np.int64), np.asarray(boundary_uv, dtype=np.float64))
