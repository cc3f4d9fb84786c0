"""Fixed points by plain iteration and by Anderson's acceleration, with the a-posteriori stopping rule (T2 of §3.2).

    ‖T z − z*‖ ≤ λ / (1 − λ) · ‖T z − z‖      for Lip(T) ≤ λ < 1 and any z

so that the iteration stops when the *error*, not the step, is within the tolerance, whatever solver proposed z.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..arguments import check_above_zero, check_choice, check_points, check_positive
from .iterate import Block, apply


class NotConvergedWarning(UserWarning):
    """An iteration stopped before it reached its tolerance."""


@dataclass(frozen=True)
class FixedPoint:
    """Where an iteration ended.

    Args:
        x: T of the last proposal.
        residuals: ‖T z − z‖ of each proposal z and sample.
        error_bound: λ/(1 − λ) · the last residual, which bounds ‖x − x*‖; infinite where λ was not given.
        n_evals: evaluations of T.
        converged: per sample.
        solver: "picard" or "anderson".
    """

    x: Float[Tensor, "b ..."]
    residuals: Float[Tensor, "n b"]
    error_bound: Float[Tensor, "b"]
    n_evals: int
    converged: Bool[Tensor, "b"]
    solver: str


@torch.no_grad()
def fixed_point(
    fn: Block,
    x: Float[Tensor, "b ..."],
    solver: Literal["picard", "anderson"] = "picard",
    tol: float = 1e-8,
    lip: float | None = None,
    n_steps: int = 1000,
    memory: int = 5,
) -> FixedPoint:
    """Solve x = T x for each sample. No gradient passes.

    Args:
        fn: T; maps a batch to a batch of the same shape, sample by sample.
        x: starts, in float32 or float64.
        solver: "picard" iterates T; "anderson" combines the last `memory` proposals, with a regularised least-squares
            problem that is never singular, and takes T z itself where the combination makes the residual worse.
        tol: with `lip` the largest error ‖x − x*‖; without it the largest ‖T z − z‖ over max(1, ‖T z‖).
        lip: λ < 1, an upper bound of Lip(T).
        n_steps: most evaluations of T.
        memory: proposals that Anderson combines.

    Warns:
        NotConvergedWarning: if some sample did not reach the tolerance.

    Example:
        >>> found = fixed_point(lambda z: 0.5 * z + 1, torch.zeros(1, 3), tol=1e-5, lip=0.5)
        >>> found.x[0].round(decimals=4).tolist(), bool((found.x - 2).norm() <= found.error_bound)
        ([2.0, 2.0, 2.0], True)
    """
    check_points("x", x)
    check_choice("solver", solver, ("picard", "anderson"))
    check_above_zero(tol=tol)
    check_positive(n_steps=n_steps, memory=memory)
    if lip is not None and not 0 < lip < 1:
        raise ValueError(
            f"lip must be above 0 and below 1, got {lip}: from 1 on the step does not bound the error"
        )
    factor = math.inf if lip is None else lip / (1 - lip)
    history = _History(memory)
    z, residuals = x, list[Tensor]()
    for _ in range(n_steps):
        value = apply(fn, z)
        residuals.append((value - z).flatten(1).norm(dim=1))
        limit = tol * value.flatten(1).norm(dim=1).clamp(min=1.0) if lip is None else tol / factor
        converged = residuals[-1] <= limit
        if bool(converged.all()) or not bool(value.isfinite().all()):
            break
        z = value if solver == "picard" else history.propose(z, value)
    if not bool(converged.all()):
        warnings.warn(
            f"fixed_point: {int((~converged).sum())} of {len(x)} samples are not within tol = {tol} after {len(residuals)} "
            f"evaluations (largest residual {float(residuals[-1].max()):.3g}); raise n_steps, or T is no contraction",
            NotConvergedWarning,
            stacklevel=2,
        )
    return FixedPoint(
        value, torch.stack(residuals), factor * residuals[-1], len(residuals), converged, solver
    )


class _History:
    """The last proposals of Anderson's acceleration and their images, flattened, per sample."""

    def __init__(self, memory: int):
        self.memory = memory
        self.values: list[Tensor] = []
        self.steps: list[Tensor] = []

    def propose(self, z: Tensor, value: Tensor) -> Tensor:
        """Σ w_i T z_i with Σ w_i = 1 that makes Σ w_i (T z_i − z_i) smallest."""
        step = (value - z).flatten(1)
        if (
            self.steps
        ):  # a combination that made things much worse is forgotten, sample by sample it falls back to T z
            worse = step.norm(dim=1) > 2 * self.steps[-1].norm(dim=1)
            if bool(worse.any()):
                self.values.clear()
                self.steps.clear()
        self.values = [*self.values, value.flatten(1)][-self.memory :]
        self.steps = [*self.steps, step][-self.memory :]
        if len(self.steps) == 1:
            return value
        steps = torch.stack(self.steps, 1)  # b m d
        differences = steps[:, :-1] - steps[:, -1:]
        gram = differences @ differences.mT
        limits = torch.finfo(z.dtype)
        ridge = max(1e-10, 10 * limits.eps) * gram.diagonal(dim1=1, dim2=2).amax(1) + limits.tiny
        gram = gram + ridge[:, None, None] * torch.eye(gram.shape[1], dtype=z.dtype, device=z.device)
        weights = torch.linalg.solve(gram, -(differences @ steps[:, -1, :, None])).squeeze(-1)  # b m-1
        values = torch.stack(self.values, 1)
        proposal = values[:, -1] + (weights[..., None] * (values[:, :-1] - values[:, -1:])).sum(1)
        return proposal.reshape(z.shape)
