"""Exact semi-discrete optimal transport from the uniform measure on a convex polygon, by damped Newton (§3.2, §A.2).

The Brenier potential is u_h(x) = max_i(⟨x, y_i⟩ + h_i), its cells the power diagram with weights w_i = 2 h_i + |y_i|².
E(h) = ∫ u_h dμ − Σ ν_i h_i is convex, ∂E/∂h_i = μ(W_i) − ν_i, and ∂²E/∂h_i∂h_j = −μ_len(W_i ∩ W_j) / |y_i − y_j|.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from .polygon import ConvexPolygon, as_domain
from .power_diagram import PowerDiagram, power_diagram

MIN_STEP = 1e-6
JITTER = 1e-9
"""Coinciding points are moved apart by this many diameters of the domain."""


class NotConvergedError(RuntimeError):
    """Newton's method stopped before the masses were right.

    Attributes:
        transport: the state it stopped in, with `mass_error` and `iterations`.
    """

    def __init__(self, message: str, transport: "Transport"):
        super().__init__(message)
        self.transport = transport


@dataclass(frozen=True, eq=False)
class Transport:
    """The optimal map from the uniform measure on a polygon to weighted points: cell W_i goes to y_i.

    Args:
        points: y, (n, 2); coinciding ones are moved apart.
        masses: ν, (n,), adding up to 1.
        diagram: the power diagram with μ(W_i) = ν_i.
        iterations: Newton steps taken.
        history: largest mass error before every step, and at the end.
    """

    points: Float[np.ndarray, "n 2"]
    masses: Float[np.ndarray, "n"]
    diagram: PowerDiagram
    iterations: int
    history: tuple[float, ...]

    @cached_property
    def heights(self) -> Float[np.ndarray, "n"]:
        """h_i of the Brenier potential, with h_0 = 0."""
        h = (self.diagram.weights - (self.points**2).sum(1)) / 2
        return h - h[0]

    @property
    def centroids(self) -> Float[np.ndarray, "n 2"]:
        """Where each point goes when the gaps are closed: the centre of mass of its cell."""
        return self.diagram.centroids

    @property
    def mass_error(self) -> float:
        """max_i |μ(W_i) − ν_i|."""
        return float(np.abs(self.diagram.masses - self.masses).max())

    @property
    def cost(self) -> float:
        """∫ |x − T(x)|² dμ, the squared Wasserstein distance."""
        return float(self.diagram.costs.sum())

    @property
    def energy(self) -> float:
        """E(h) = ∫ u_h dμ − Σ ν_i h_i; its gradient by h is μ(W) − ν."""
        d = self.diagram
        second = float((d.masses * (d.centroids**2).sum(1))[d.areas > 0].sum())
        spread = float((d.costs - d.masses * ((d.centroids - self.points) ** 2).sum(1))[d.areas > 0].sum())
        # u_h(x) = (|x|² − |x − y_i|² + w_i) / 2 on W_i.
        potential = (second + spread - d.costs.sum() + (d.masses * d.weights).sum()) / 2
        h = (d.weights - (self.points**2).sum(1)) / 2
        return float(potential - (self.masses * h).sum())

    def __call__(self, x: ArrayLike) -> Float[np.ndarray, "m 2"]:
        """T(x) = ∇u_h(x): the point whose cell x lies in."""
        query = np.asarray(x, dtype=np.float64)
        # A power distance is a Euclidean one in three dimensions: |x − y|² − w + max w.
        lift = np.sqrt(self.diagram.weights.max() - self.diagram.weights)
        tree = cKDTree(np.column_stack([self.points, lift]))
        return self.points[tree.query(np.column_stack([query, np.zeros(len(query))]))[1]]


def semidiscrete_ot(
    points: ArrayLike,
    masses: ArrayLike | None = None,
    domain: ConvexPolygon | str | ArrayLike = "disk",
    *,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> Transport:
    """Optimal transport, for the squared distance, of the uniform measure on a convex polygon to weighted points.

    Args:
        points: y, (n, 2), inside the domain.
        masses: ν > 0, (n,), adding up to 1; None gives every point the same. Sums off by up to 1e-6 are mended.
        domain: "disk" (a polygon with 128 sides), a `ConvexPolygon`, or its corners, counter-clockwise.
        tol: largest error of a mass.
        max_iter: Newton steps at most.

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, masses that are not positive or do not add
            up to 1, points outside the domain.
        NotConvergedError: if a mass is still off by more than `tol`.

    Example:
        >>> import numpy as np
        >>> y = np.random.default_rng(0).normal(size=(40, 2)) * 0.1
        >>> transport = semidiscrete_ot(y)
        >>> bool(abs(transport.diagram.masses - 1 / 40).max() < 1e-8)
        True
    """
    polygon = as_domain(domain)
    y = _apart(_points(points, polygon), polygon)
    nu = _masses(masses, len(y))
    # A site inside the domain lies in its own Voronoi cell, so that no cell is empty at the start.
    state = power_diagram(y, None, polygon)
    goal = 0.5 * min(state.masses.min(), nu.min())
    history = [float(np.abs(nu - state.masses).max())]
    while history[-1] > tol:
        step = _newton_step(state, nu, goal) if len(history) <= max_iter else None
        if step is None:
            reached = Transport(y, nu, state, len(history) - 1, tuple(history))
            raise NotConvergedError(
                f"a mass is still off by {history[-1]:.2g} after {len(history) - 1} Newton steps (tol={tol:g}); "
                "raise max_iter or tol, or spread the points",
                reached,
            )
        state = step
        history.append(float(np.abs(nu - state.masses).max()))
    return Transport(y, nu, state, len(history) - 1, tuple(history))


def _points(points: ArrayLike, domain: ConvexPolygon) -> Float[np.ndarray, "n 2"]:
    y = np.asarray(points, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != 2 or len(y) < 1:
        raise ValueError(f"points must have shape (n, 2) with n >= 1, got {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"points must be finite; number {int(np.argmin(np.isfinite(y).all(1)))} is not")
    inside = domain.contains(y)
    if not inside.all():
        first = int(np.argmin(inside))
        raise ValueError(f"points must lie in the domain; number {first} at {y[first].tolist()} does not")
    return y


def _masses(masses: ArrayLike | None, n: int) -> Float[np.ndarray, "n"]:
    if masses is None:
        return np.full(n, 1 / n)
    nu = np.asarray(masses, dtype=np.float64)
    if nu.shape != (n,):
        raise ValueError(f"masses must have shape ({n},), got {nu.shape}")
    if not (np.isfinite(nu).all() and (nu > 0).all()):
        raise ValueError(f"masses must be positive and finite, got values down to {nu.min()}")
    if abs(nu.sum() - 1) > 1e-6:
        raise ValueError(f"masses must add up to 1, got {nu.sum()}; divide them by their sum")
    return nu / nu.sum()


def _apart(y: Float[np.ndarray, "n 2"], domain: ConvexPolygon) -> Float[np.ndarray, "n 2"]:
    """Coinciding points moved apart along a spiral, each towards the inside."""
    _, first, which = np.unique(y, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[which.ravel()] != np.arange(len(y)))
    if not len(again):
        return y
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(1, len(again) + 1)
    moved = y.copy()
    reach = JITTER * domain.diameter * np.sqrt(np.arange(1, len(again) + 1))
    inwards = domain.centroid - y[again]
    inwards /= np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), 1e-300)
    moved[again] += reach[:, None] * (2 * inwards + np.stack([np.cos(turn), np.sin(turn)], 1))
    return moved


def _newton_step(state: PowerDiagram, nu: Float[np.ndarray, "n"], goal: float) -> PowerDiagram | None:
    """The next diagram, or None if no step along Newton's direction helps."""
    gradient = nu - state.masses
    direction = _direction(state, gradient)
    size, norm = 1.0, np.linalg.norm(gradient)
    while size >= MIN_STEP:
        trial = power_diagram(state.sites, state.weights + size * direction, state.domain)
        if trial.masses.min() >= goal and np.linalg.norm(nu - trial.masses) <= (1 - size / 2) * norm:
            return trial
        size /= 2
    return None


def _direction(state: PowerDiagram, gradient: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Solve L d = ν − μ(W), d_0 = 0; L is ∂μ(W)/∂w, a graph Laplacian."""
    n = len(state.sites)
    i, j = state.pairs.T
    distance = np.linalg.norm(state.sites[i] - state.sites[j], axis=1)
    flow = state.lengths / (2 * distance * state.domain.area)
    rows, columns = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
    laplacian = sparse.csc_matrix((np.concatenate([-flow, -flow, flow, flow]), (rows, columns)), shape=(n, n))
    direction = np.zeros(n)
    if n > 1:
        direction[1:] = spsolve(laplacian[1:, 1:], gradient[1:])
    return direction
