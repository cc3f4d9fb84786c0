"""Averaged iteration x ← (1 − α) x + α T x: convergence at Lip(T) = 1, where T itself may turn for ever (T4 of §3.2).

    ‖x_k − T x_k‖ ≤ ‖x_0 − p‖ / √(α (1 − α) (k + 1))      for non-expansive T and any p = T p

A residual connection x + α (T x − x) is exactly such an average.
"""

import math
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..arguments import check_above_zero, check_open_unit, check_points, check_positive
from .fixed_point import NotConvergedWarning
from .iterate import Block, apply


@dataclass(frozen=True)
class AveragedIteration:
    """How an averaged iteration went.

    Args:
        x: the last state, x_n.
        residuals: ‖x_k − T x_k‖ for k = 0 … n and each sample.
        alpha: weight of T.
        converged: residual ≤ tol · max(1, ‖x_n‖), per sample.
    """

    x: Float[Tensor, "b ..."]
    residuals: Float[Tensor, "n+1 b"]
    alpha: float
    converged: Bool[Tensor, "b"]

    @property
    def n_steps(self) -> int:
        return len(self.residuals) - 1

    def bound(self, distance: Float[Tensor, "b"]) -> Float[Tensor, "n+1 b"]:
        """The guarantee for `residuals`, from the distances ‖x_0 − p‖ of the starts to a fixed point."""
        k = torch.arange(len(self.residuals), dtype=distance.dtype, device=distance.device)
        return distance / (self.alpha * (1 - self.alpha) * (k[:, None] + 1)).sqrt()


@torch.no_grad()
def krasnoselskii_mann(
    fn: Block, x: Float[Tensor, "b ..."], alpha: float = 0.5, n_steps: int = 1000, tol: float = 1e-6
) -> AveragedIteration:
    """Iterate the average of T and the identity until T moves every sample by at most tol · max(1, ‖x‖).

    Args:
        fn: T, non-expansive for the guarantee to hold.
        x: starts, in float32 or float64.
        alpha: weight of T, strictly between 0 and 1.
        n_steps: most steps.
        tol: of the residual; 0 runs all steps and does not warn.

    Warns:
        NotConvergedWarning: if some sample has not reached `tol` after `n_steps`.

    Example:
        >>> turn = lambda x: torch.stack([-x[:, 1], x[:, 0]], 1)  # by 90°: T itself never settles
        >>> found = krasnoselskii_mann(turn, torch.tensor([[1.0, 0.0]]))
        >>> bool(found.converged.all()), found.n_steps < 60
        (True, True)
    """
    check_points("x", x)
    check_open_unit(alpha=alpha)
    check_positive(n_steps=n_steps)
    if tol != 0:
        check_above_zero(tol=tol)
    residuals = []
    for k in range(n_steps + 1):
        step = apply(fn, x) - x
        residuals.append(step.flatten(1).norm(dim=1))
        converged = residuals[-1] <= tol * x.flatten(1).norm(dim=1).clamp(min=1.0)
        if k == n_steps or (tol > 0 and bool(converged.all())):
            break
        x = x + alpha * step
    if tol > 0 and not bool(converged.all()):
        worst = float(residuals[-1].max())
        warnings.warn(
            f"krasnoselskii_mann: {int((~converged).sum())} of {len(x)} samples are above tol = {tol} after {n_steps} "
            f"steps (largest residual {worst:.3g}); raise n_steps, or T is expansive or has no fixed point",
            NotConvergedWarning,
            stacklevel=2,
        )
    return AveragedIteration(x, torch.stack(residuals), alpha, converged)


def steps_needed(distance: float, tol: float, alpha: float = 0.5) -> int:
    """After how many steps the guarantee puts the residual below `tol`, from a start that far from a fixed point.

    Example:
        >>> steps_needed(1.0, tol=0.1)
        399
    """
    check_above_zero(distance=distance, tol=tol)
    check_open_unit(alpha=alpha)
    return math.ceil((distance / tol) ** 2 / (alpha * (1 - alpha)) * (1 - 1e-12)) - 1
