"""Broyden's good method of a batch, with an inverse Jacobian of rank-one updates per sample (§3.3).

For g(x) = f(x) - x with B⁻¹ = -I + Σ_j u_j v_jᵀ:

    x ← x - β B⁻¹ g
    u = (Δx - B⁻¹ Δg) / (Δxᵀ B⁻¹ Δg),    v = B⁻ᵀ Δx

All updates of a solve are kept, at most one an evaluation.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

GROWTH = 8  # updates that storage is enlarged by


class Broyden:
    """The inverse Jacobian of a batch and the next point to evaluate.

    Args:
        like: features of the batch, flattened, (b, d).
        beta: β, damping of the step.
    """

    def __init__(self, like: Float[Tensor, "b d"], beta: float):
        self.beta = beta
        self.u = like.new_zeros(len(like), GROWTH, like.shape[1])
        self.v = torch.zeros_like(self.u)
        self.rank = 0
        self.last: tuple[Tensor, Tensor] | None = None
        self.ridge_raises = torch.zeros(len(like), dtype=torch.long, device=like.device)  # there is no ridge
        self.plain_steps = torch.zeros_like(self.ridge_raises)

    def place(self) -> None:
        """The next g = f(x) - x may lie anywhere."""

    def step(
        self, x: Float[Tensor, "b d"], f: Float[Tensor, "b d"], g: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b d"]:
        """The point after x, with g = f(x) - x."""
        if self.last is not None:
            self._update(x - self.last[0], g - self.last[1])
        self.last = x, g
        return x - self.beta * self._inverse(g)

    def _inverse(self, g: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """B⁻¹ g."""
        return _low_rank(self.u[:, : self.rank], self.v[:, : self.rank], g) - g

    def _update(self, dx: Float[Tensor, "b d"], dg: Float[Tensor, "b d"]) -> None:
        transposed = _low_rank(self.v[:, : self.rank], self.u[:, : self.rank], dx) - dx  # B⁻ᵀ Δx
        moved = self._inverse(dg)
        denominator = (dx * moved).sum(1)
        scale = dx.norm(dim=1) * moved.norm(dim=1)
        usable = denominator.abs() > 1e-6 * scale  # False for NaN; else the update would be noise
        self.plain_steps += ~usable
        u = (dx - moved) / torch.where(usable, denominator, 1.0)[:, None]
        if self.rank == self.u.shape[1]:
            room = self.u.new_zeros(len(u), GROWTH, u.shape[1])
            self.u, self.v = torch.cat((self.u, room), 1), torch.cat((self.v, room), 1)
        self.u[:, self.rank] = torch.where(usable[:, None], u, 0.0)
        self.v[:, self.rank] = torch.where(usable[:, None], transposed, 0.0)
        self.rank += 1

    def keep(self, rows: Int[Tensor, "n"]) -> None:
        """Forget the samples that are not in `rows`."""
        self.u, self.v = self.u[rows], self.v[rows]
        self.ridge_raises, self.plain_steps = self.ridge_raises[rows], self.plain_steps[rows]
        if self.last is not None:
            self.last = self.last[0][rows], self.last[1][rows]


def _low_rank(
    left: Float[Tensor, "b r d"], right: Float[Tensor, "b r d"], y: Float[Tensor, "b d"]
) -> Float[Tensor, "b d"]:
    """Σ_j left_j (right_jᵀ y)."""
    if y.is_cuda:  # products of matrices may be rounded to TF32 there
        return (left * (right * y[:, None]).sum(-1, keepdim=True)).sum(1)
    return torch.bmm(torch.bmm(y[:, None], right.mT), left)[:, 0]
