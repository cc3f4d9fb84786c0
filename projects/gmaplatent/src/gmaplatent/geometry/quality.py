"""How good a piecewise linear map is: flips, areas, Beltrami coefficients, Dirichlet energy, Jacobians (§3.7)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy import sparse

from .mesh import signed_areas


@dataclass(frozen=True)
class MapQuality:
    """Figures of a map from one triangulation to its image.

    Args:
        flips: image triangles with no or negative area.
        min_area: of the image triangles.
        total_area: of the image triangles.
        mean_distortion: mean of |μ| over triangles, weighted by area; 0 for a conformal map.
        max_distortion: largest |μ|; below 1 for a map that keeps orientation.
        min_angle: in degrees, of the image triangles.
    """

    flips: int
    min_area: float
    total_area: float
    mean_distortion: float
    max_distortion: float
    min_angle: float


def map_quality(
    vertices: Float[np.ndarray, "n 2"], uv: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> MapQuality:
    """Measure the piecewise linear map that sends `vertices` to `uv`."""
    areas = signed_areas(uv, triangles)
    mu = np.abs(beltrami(vertices, uv, triangles))
    weight = signed_areas(vertices, triangles)
    return MapQuality(
        flips=int((areas <= 0).sum()),
        min_area=float(areas.min()),
        total_area=float(areas.sum()),
        mean_distortion=float((mu * weight).sum() / weight.sum()),
        max_distortion=float(mu.max()),
        min_angle=float(np.degrees(angles(uv, triangles).min())),
    )


def jacobians(
    vertices: Float[np.ndarray, "n 2"], uv: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m 2 2"]:
    """The linear part of the map on each triangle: J[i, j] = ∂u_i/∂x_j."""
    a, b, c = triangles.T
    before = np.stack([vertices[b] - vertices[a], vertices[c] - vertices[a]], -1)
    after = np.stack([uv[b] - uv[a], uv[c] - uv[a]], -1)
    return after @ np.linalg.inv(before)


def beltrami(
    vertices: Float[np.ndarray, "n 2"], uv: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> Complex[np.ndarray, "m"]:
    """μ = f_z̄ / f_z on each triangle; |μ| < 1 where orientation is kept.

    Example:
        >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> beltrami(corners, corners * [3, 1], np.array([[0, 1, 2]])).round(3).tolist()
        [(0.5+0j)]
    """
    (ux, uy), (vx, vy) = jacobians(vertices, uv, triangles).transpose(1, 2, 0)
    f_z, f_zbar = (ux + vy) + 1j * (vx - uy), (ux - vy) + 1j * (vx + uy)
    with np.errstate(divide="ignore", invalid="ignore"):
        return f_zbar / f_z


def lipschitz_constants(
    vertices: Float[np.ndarray, "n 2"], uv: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m"]:
    """The largest stretch on each triangle: the spectral norm of its Jacobian."""
    return np.linalg.norm(jacobians(vertices, uv, triangles), ord=2, axis=(1, 2))


def angles(vertices: Float[np.ndarray, "n 2"], triangles: Int[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
    """In radians, at each corner."""
    found = []
    for k in range(3):
        o, a, b = (vertices[triangles[:, (k + s) % 3]] for s in range(3))
        cosine = ((a - o) * (b - o)).sum(1) / (np.linalg.norm(a - o, axis=1) * np.linalg.norm(b - o, axis=1))
        found.append(np.arccos(cosine.clip(-1, 1)))
    return np.stack(found, 1)


def dirichlet_energy(matrix: sparse.csr_array, uv: Float[np.ndarray, "n 2"]) -> float:
    """Σ w_ij |U_i − U_j|² over edges = trace(Uᵀ L U), for a symmetric Laplacian."""
    return float((uv * (matrix @ uv)).sum())
