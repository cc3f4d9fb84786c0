"""Which fitted parameters the data determine at all (§10.9, §12): a number without this is not a measurement."""

import numpy as np
from jaxtyping import Float64

from .laws import ScalingLaw

Array = np.ndarray

ABSENT = 1e-4
"""A term whose share of the prediction is below this in every row is not there."""

STRAIGHT = 0.1
"""Total decay (in logarithms) over the column below which an exponential is a straight line (to 1.3 % of what it falls)."""

_SINGULAR = 1e-7
"""Smallest over largest singular value of the scaled Jacobian below which some combination of parameters is free."""


def unidentified(
    law: ScalingLaw, theta: Float64[Array, "k"], design: Float64[Array, "n j"]
) -> dict[str, str]:
    """Parameter -> why the data do not determine it; empty if they determine all.

    Args:
        law: the form.
        theta: fitted coordinates, for the positions of `design`.
        design: positions of the terms.
    """
    found: dict[str, str] = {}
    shares = law.shares(theta, design)
    for name, share in shares.items():
        if share.max() < ABSENT:
            found[name] = f"its term makes up less than {ABSENT:g} of every prediction"
    for k, j in law.decays.items():
        name, z = law.names[k], design[:, j]
        if np.exp(theta[k]) * np.ptp(z) < STRAIGHT:
            found.setdefault(name, "at its bound: the decay is too slow to be told from a straight line")
        elif shares[name][z > z.min()].max() < ABSENT:
            found.setdefault(
                name, "at its bound: so fast that only the smallest value of the column sees the term"
            )
    for name in _free_direction(law, theta, design):
        found.setdefault(name, "it can be traded for other parameters: the Jacobian is singular")
    return found


def _free_direction(law: ScalingLaw, theta: Array, design: Array) -> list[str]:
    """Parameters that take a noticeable part in a direction along which no prediction changes."""
    jacobian = law.log_prediction(theta, design)[1]
    norms = np.linalg.norm(jacobian, axis=0)
    there = norms > 1e-12 * norms.max()
    _, values, directions = np.linalg.svd(jacobian[:, there] / norms[there], full_matrices=False)
    if values[-1] > _SINGULAR * values[0]:
        return []
    names = [name for name, used in zip(law.names, there) if used]
    return [name for name, part in zip(names, directions[-1]) if abs(part) > 0.1]
