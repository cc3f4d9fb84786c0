"""Anderson acceleration, type II, of a batch: every sample mixes its own history with its own weights (§3.3).

    min_α ‖Σ_j α_j g_j‖² + λ ‖α‖²,  Σ α_j = 1        [[0, 1ᵀ], [1, GGᵀ + λ I]] [ν; α] = [1; 0]
    x ← β Σ α_j f_j + (1-β) Σ α_j x_j  =  Σ α_j f_j - (1-β) Σ α_j g_j,        g_j = f_j - x_j

With a relative ridge, λ I becomes λ diag(GGᵀ): each weight is charged in the energy of its own residual.

A new evaluation changes one row and one column of GGᵀ; only those are computed, in the precision of the features (TF32 and
autocast are kept out). The small systems are solved in float64.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RAISES = 5  # tenfold raises of λ before a plain step is taken


class Anderson:
    """The history of a batch and the next point to evaluate.

    Args:
        like: features of the batch, flattened, (b, d).
        m: evaluations that are mixed.
        beta: β.
        lam: λ.
        relative: whether λ is measured in each ‖g_j‖² instead of in 1.
    """

    def __init__(self, like: Float[Tensor, "b d"], m: int, beta: float, lam: float, relative: bool):
        batch, size = like.shape
        self.beta, self.lam, self.relative = beta, lam, relative
        self.f = like.new_empty(batch, m, size)
        self.g = like.new_empty(batch, m, size)
        self.system = torch.zeros(batch, m + 1, m + 1, dtype=torch.float64, device=like.device)
        self.system[:, 0, 1:] = 1
        self.system[:, 1:, 0] = 1
        self.count = 0
        self.ridge_raises = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.plain_steps = torch.zeros_like(self.ridge_raises)

    def place(self) -> Float[Tensor, "b d"]:
        """Where the next g = f - x is to be written: its row of the history."""
        return self.g[:, self.count % self.g.shape[1]]

    def step(
        self, x: Float[Tensor, "b d"], f: Float[Tensor, "b d"], g: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b d"]:
        """The point after x, whose evaluation was f; g = f - x lies in `place` already."""
        m = self.f.shape[1]
        slot = self.count % m
        self.count += 1
        n = min(self.count, m)
        self.f[:, slot].copy_(f)
        row = _products(self.g[:, :n], g).double()
        self.system[:, slot + 1, 1 : n + 1] = row
        self.system[:, 1 : n + 1, slot + 1] = row
        if self.count == 1:  # two evaluations precede the first mixing
            return f if self.beta == 1 else f - (1 - self.beta) * g
        alpha = self._weights(n, slot, torch.finfo(f.dtype).eps).to(f.dtype)
        mixed = _mix(alpha, self.f[:, :n])
        return mixed if self.beta == 1 else mixed - (1 - self.beta) * _mix(alpha, self.g[:, :n])

    def _weights(self, n: int, slot: int, precision: float) -> Float[Tensor, "b n"]:
        system = self.system[:, : n + 1, : n + 1]
        alpha, singular = solve_bordered(system, self.lam, self.relative)
        # A zero pivot leaves infinite weights or NaN behind; only then each sample is looked at.
        if not float(alpha.abs().max()) < precision**-0.5:
            good = trusted(alpha, singular, precision)
            alpha, raises, plain = mend_weights(alpha, good, system, self.lam, self.relative, slot, precision)
            self.ridge_raises += raises
            self.plain_steps += plain
        return alpha

    def keep(self, rows: Int[Tensor, "n"]) -> None:
        """Forget the samples that are not in `rows`; the histories of those that keep their place are not moved."""
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        for name in ("f", "g", "system", "ridge_raises", "plain_steps"):
            old = getattr(self, name)
            old[moved] = old[rows[moved]]
            setattr(self, name, old[: len(rows)])


def solve_bordered(
    system: Float[Tensor, "b n+1 n+1"], lam: float, relative: bool
) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b"]]:
    """α of each sample, and the number of a zero pivot in its system, 0 where there is none.

    Args:
        system: [[0, 1ᵀ], [1, GGᵀ]] in float64.
        lam: λ.
        relative: whether λ is measured in the diagonal of GGᵀ.
    """
    system = system.clone()
    diagonal = system.diagonal(dim1=1, dim2=2)[:, 1:]
    if relative:
        diagonal.mul_(1 + lam)
    else:
        diagonal.add_(lam)
    return _solve(system)


def trusted(alpha: Float[Tensor, "b n"], singular: Int[Tensor, "b"], precision: float) -> Bool[Tensor, "b"]:
    """Whether the weights of a sample are of use: no zero pivot, and not so large that mixing loses half the digits.

    Args:
        alpha, singular: of `solve_bordered`.
        precision: unit of round-off of the features that GGᵀ was computed from.
    """
    return (singular == 0) & (alpha.abs().amax(1) < precision**-0.5)  # False for NaN


def mend_weights(
    alpha: Float[Tensor, "b n"],
    good: Bool[Tensor, "b"],
    system: Float[Tensor, "b n+1 n+1"],
    lam: float,
    relative: bool,
    newest: int,
    precision: float,
) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b"], Int[Tensor, "b"]]:
    """Where a system is singular, λ is raised tenfold up to five times; then α picks the newest evaluation, a plain step.

    Args:
        alpha, good: of `solve_bordered` for the same system and λ, and of `trusted`.
        newest: index of the newest evaluation.

    Returns:
        α, the raises of λ, and 1 where the step is plain.
    """
    energy = system.diagonal(dim1=1, dim2=2)[:, 1:]
    largest = energy.amax(1, keepdim=True)
    floor = precision * torch.where(largest > 0, largest, 1.0)  # λ may be 0, or too small beside GGᵀ to count
    ridge = torch.maximum(lam * (energy if relative else torch.ones_like(energy)), floor)
    alpha, good = alpha.clone(), good.clone()
    raises = torch.zeros(len(alpha), dtype=torch.long, device=alpha.device)
    for _ in range(RAISES):
        bad = (~good).nonzero()[:, 0]
        if not len(bad):
            break
        ridge = 10 * ridge
        raised = system[bad]
        raised.diagonal(dim1=1, dim2=2)[:, 1:].add_(ridge[bad])
        found, singular = _solve(raised)
        alpha[bad], good[bad] = found, trusted(found, singular, precision)
        raises[bad] += 1
    alpha[~good] = torch.eye(alpha.shape[1], dtype=alpha.dtype, device=alpha.device)[newest]
    return alpha, raises, (~good).long()


def _solve(system: Float[Tensor, "b n+1 n+1"]) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b"]]:
    right = system.new_zeros(1, system.shape[1], 1)
    right[0, 0] = 1
    solution, info = torch.linalg.solve_ex(system, right)
    return solution[:, 1:, 0], info


def _products(history: Float[Tensor, "b n d"], g: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
    if g.is_cuda:  # products of matrices may be rounded to TF32 there
        return (history * g[:, None]).sum(-1)
    return torch.bmm(g[:, None], history.mT)[:, 0]  # this order is the fast one


def _mix(alpha: Float[Tensor, "b n"], history: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
    if alpha.is_cuda:
        return (alpha[..., None] * history).sum(1)
    return torch.bmm(alpha[:, None], history)[:, 0]
