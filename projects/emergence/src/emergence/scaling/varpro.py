"""Where fits start: variable projection with non-negative least squares on a grid of decay rates (§3.5, §3.8).

Given the decay rates, a sum of terms is linear in floor and coefficients. For every combination of rates on a grid the
best non-negative coefficients are found exactly, weighted by 1/L so that the residuals are relative ones. All
combinations are solved at once: the Gram matrix of a combination is assembled from those of pairs of terms, and with at
most four unknowns the active set is found by trying all of them.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from .laws import KaplanLaw, ScalingLaw, SumLaw

Array = np.ndarray

GRID = {1: 96, 2: 32, 3: 16}
"""Values a decay rate takes, by how many rates are fitted."""

_ABSENT = 1e-4
"""Share of the smallest loss that a coefficient of zero starts with, so that it can grow."""


def decay_range(z: Float64[Array, "n"]) -> tuple[float, float]:
    """Smallest and largest decay rate κ that positions z can tell from a constant and from a spike.

    exp(−κ z) changes by a thousandth over all positions at the smallest, and by e^−30 between the first two (or over a
    fiftieth of the span, if the first two are closer) at the largest.
    """
    distinct = np.unique(z)
    span = float(distinct[-1] - distinct[0])
    gap = max(float(distinct[1] - distinct[0]), span / 50)
    return 1e-3 / span, 30 / gap


def starts(
    law: ScalingLaw, design: Float64[Array, "n j"], loss: Float64[Array, "n"], count: int
) -> list[Array]:
    """The `count` best coordinates of the grid, best first.

    Args:
        law: a sum of terms, or the Kaplan law (a sum once both sides are raised to 1/αD).
        design: positions of the terms; centre them, so that coefficients are of the size of the losses.
        loss: observed.
        count: how many.
    """
    if isinstance(law, SumLaw):
        return _starts_of_sum(law, design, loss, count)
    if isinstance(law, KaplanLaw):
        return _starts_of_kaplan(design, loss, count)
    raise TypeError(f"starts knows sums of terms and the Kaplan law, got {type(law).__name__}")


def _starts_of_sum(law: SumLaw, design: Array, loss: Array, count: int) -> list[Array]:
    size = GRID.get(len(law.decays), 8)
    grids = []
    for j, term in enumerate(law.terms):
        low, high = decay_range(design[:, j])
        # Rates of interest are well inside of what can be told apart at all.
        grids.append(
            np.array([term.decay(term.fixed)])
            if term.fixed is not None
            else np.geomspace(20 * low, high / 3, size)
        )
    power = law.power
    columns = [np.exp(-power * np.outer(grid, design[:, j])) / loss**power for j, grid in enumerate(grids)]
    if law.floor:
        columns.insert(0, (1 / loss**power)[None])
    objectives, coefficients, index = _solve_grid(columns)
    order = np.argsort(objectives, kind="stable")[:count]
    least = _ABSENT * loss.min()
    found = []
    for i in order:
        values = np.maximum(coefficients[i] ** (1 / power), least)
        params = {"E": values[0]} if law.floor else {}
        for j, term in enumerate(law.terms):
            params[term.coefficient] = values[j + law.floor]
            if term.fixed is None:
                params[term.rate] = term.natural(grids[j][index[i][j + law.floor]])
        found.append(law.coordinates(params))
    return found


def _starts_of_kaplan(design: Array, loss: Array, count: int) -> list[Array]:
    """L^(1/αD) = (Nc/n)^(αN/αD) + Dc/D: linear in Nc^(αN/αD) and Dc, given αD and αN/αD."""
    found: list[tuple[float, Array]] = []
    for alpha_d in np.geomspace(0.02, 1.0, 24):
        ratios = np.geomspace(0.1, 10.0, 24)
        target = loss ** (1 / alpha_d)
        columns = [np.exp(-np.outer(ratios, design[:, 0])) / target, np.exp(-design[None, :, 1]) / target]
        objectives, coefficients, index = _solve_grid(columns)
        for objective, (model, data), (i, _) in zip(objectives, coefficients, index):
            model, data = max(model, 1e-12), max(data, 1e-12)
            theta = [np.log(model) / ratios[i], np.log(ratios[i] * alpha_d), np.log(data), np.log(alpha_d)]
            # Residuals of L^(1/αD) are 1/αD times as large as those of log L.
            found.append((objective * alpha_d**2, np.array(theta)))
    found.sort(key=lambda pair: pair[0])
    return [theta for _, theta in found[:count]]


def _solve_grid(columns: Sequence[Float64[Array, "g n"]]) -> tuple[Array, Array, Array]:
    """Non-negative least squares of 1 on every combination of one row of each entry of `columns`.

    Returns:
        Mean squared residual (b,), coefficients (b, m), and index of the row taken of each entry (b, m).
    """
    index = np.stack(np.meshgrid(*(np.arange(len(c)) for c in columns), indexing="ij"), axis=-1)
    index = index.reshape(-1, len(columns))
    m, n = len(columns), columns[0].shape[1]
    gram, moment = np.empty((len(index), m, m)), np.empty((len(index), m))
    for a in range(m):
        moment[:, a] = columns[a].mean(1)[index[:, a]]
        for b in range(a, m):
            pair = columns[a] @ columns[b].T / n
            gram[:, a, b] = gram[:, b, a] = pair[index[:, a], index[:, b]]
    coefficients = nnls(gram, moment)
    fitted = np.einsum("bi,bij,bj->b", coefficients, gram, coefficients)
    return 1 - 2 * np.einsum("bi,bi->b", coefficients, moment) + fitted, coefficients, index


def nnls(gram: Float64[Array, "b m m"], moment: Float64[Array, "b m"]) -> Float64[Array, "b m"]:
    """argmin ½ xᵀ G x − hᵀ x over x ≥ 0 for many small problems at once, by trying every set of positive entries.

    Args:
        gram: G, positive semidefinite, m ≤ 6.
        moment: h.

    Example:
        >>> nnls(np.eye(2)[None], np.array([[1.0, -1.0]])).round(6).tolist()
        [[1.0, 0.0]]
    """
    b, m = moment.shape
    if m > 6:
        raise ValueError(f"nnls tries all {2**m} active sets: at most 6 unknowns, got {m}")
    scale = np.sqrt(np.maximum(np.einsum("bii->bi", gram), 1e-300))
    scaled, h = gram / scale[:, :, None] / scale[:, None, :], moment / scale
    best, found = np.zeros(b), np.zeros((b, m))
    for size in range(1, m + 1):
        ridge = 1e-11 * np.eye(size)  # terms that coincide on the grid
        for active in combinations(range(m), size):
            take = list(active)
            x = np.linalg.solve(scaled[:, take][:, :, take] + ridge, h[:, take, None])[..., 0]
            value = -0.5 * np.einsum("bi,bi->b", x, h[:, take])
            better = (x >= 0).all(1) & (value < best)
            best[better] = value[better]
            found[better] = 0
            found[np.ix_(better, take)] = x[better]
    return found / scale
