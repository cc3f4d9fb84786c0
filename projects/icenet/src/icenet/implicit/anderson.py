"""Anderson acceleration, type II, of a batch: every sample mixes its own history with its own weights (§3.3).

    min_α ‖Σ_j α_j g_j‖² + λ ‖α‖²,  Σ α_j = 1        [[0, 1ᵀ], [1, GGᵀ + λ I]] [ν; α] = [1; 0]
    x ← β Σ α_j f_j + (1-β) Σ α_j x_j  =  Σ α_j f_j - (1-β) Σ α_j g_j,        g_j = f_j - x_j

With a relative ridge, λ I becomes λ diag(GGᵀ): each weight is charged in the energy of its own residual.

A new evaluation changes one row and one column of GGᵀ; only those are computed, in the precision of the features (TF32 and
autocast are kept out). The small systems are solved in float64.
"""

import torch
from jaxtyping import Float, Int
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
        self.gram = torch.zeros(batch, m, m, dtype=torch.float64, device=like.device)
        self.count = 0
        self.ridge_raises = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.plain_steps = torch.zeros_like(self.ridge_raises)

    def step(
        self, x: Float[Tensor, "b d"], f: Float[Tensor, "b d"], g: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b d"]:
        """The point after x, whose evaluation was f, with g = f - x."""
        slot, m = self.count % self.f.shape[1], self.f.shape[1]
        self.f[:, slot], self.g[:, slot] = f, g
        self.count += 1
        n = min(self.count, m)
        row = _products(self.g[:, :n], g)
        self.gram[:, slot, :n] = row
        self.gram[:, :n, slot] = row
        if self.count == 1:  # two evaluations precede the first mixing
            return f if self.beta == 1 else f - (1 - self.beta) * g
        precision = torch.finfo(f.dtype).eps
        alpha, raises, plain = mixing_weights(self.gram[:, :n, :n], self.lam, self.relative, slot, precision)
        self.ridge_raises += raises
        self.plain_steps += plain
        alpha = alpha.to(f.dtype)
        mixed = _mix(alpha, self.f[:, :n])
        return mixed if self.beta == 1 else mixed - (1 - self.beta) * _mix(alpha, self.g[:, :n])

    def keep(self, rows: Int[Tensor, "n"]) -> None:
        """Forget the samples that are not in `rows`."""
        n = min(self.count, self.f.shape[1])
        for name in ("f", "g"):
            old = getattr(self, name)
            new = old.new_empty(len(rows), *old.shape[1:])
            new[:, :n] = old[:, :n][rows]
            setattr(self, name, new)
        self.gram = self.gram[rows]
        self.ridge_raises, self.plain_steps = self.ridge_raises[rows], self.plain_steps[rows]


def mixing_weights(
    gram: Float[Tensor, "b n n"], lam: float, relative: bool, newest: int, precision: float
) -> tuple[Float[Tensor, "b n"], Int[Tensor, "b"], Int[Tensor, "b"]]:
    """α of each sample; where its system is singular, λ is raised tenfold up to five times, then α picks the newest.

    Args:
        gram: GGᵀ in float64.
        lam: λ.
        relative: whether λ is measured in the diagonal of GGᵀ.
        newest: index of the newest evaluation, for the plain step.
        precision: unit of round-off of the features that GGᵀ was computed from.

    Returns:
        α, the raises of λ, and 1 where the step is plain.
    """
    diagonal = gram.diagonal(dim1=1, dim2=2)
    scale = diagonal.amax(1)
    scale = torch.where((scale > 0) & scale.isfinite(), scale, 1.0)
    gram = gram / scale[:, None, None]
    weight = gram.diagonal(dim1=1, dim2=2) if relative else (1 / scale)[:, None].expand_as(diagonal)
    largest = precision**-0.5
    alpha, good = _bordered(gram, lam * weight, largest)
    raises = torch.zeros(len(gram), dtype=torch.long, device=gram.device)
    plain = torch.zeros_like(raises)
    if bool(good.all()):
        return alpha, raises, plain
    for attempt in range(1, RAISES + 1):
        bad = (~good).nonzero()[:, 0]
        ridge = (lam * weight[bad]).clamp(min=precision) * 10**attempt  # λ may be 0
        alpha[bad], good[bad] = _bordered(gram[bad], ridge, largest)
        raises[bad] += 1
        if bool(good.all()):
            return alpha, raises, plain
    alpha[~good] = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)[newest]
    plain[~good] = 1
    return alpha, raises, plain


def _bordered(
    gram: Float[Tensor, "b n n"], ridge: Float[Tensor, "b n"], largest: float
) -> tuple[Float[Tensor, "b n"], Tensor]:
    """Solve the bordered systems; the second value is False where one is singular.

    Singular means: a zero pivot, weights that do not sum to 1, or weights so large that mixing loses half the digits.
    """
    b, n, _ = gram.shape
    system = gram.new_zeros(b, n + 1, n + 1)
    system[:, 0, 1:] = 1
    system[:, 1:, 0] = 1
    system[:, 1:, 1:] = gram
    system[:, 1:, 1:].diagonal(dim1=1, dim2=2).add_(ridge)
    right = gram.new_zeros(b, n + 1, 1)
    right[:, 0] = 1
    solution, info = torch.linalg.solve_ex(system, right)
    alpha = solution[:, 1:, 0]
    small = alpha.abs().amax(1) < largest  # False for NaN
    return alpha, (info == 0) & small & ((alpha.sum(1) - 1).abs() < 1e-6)


def _products(history: Float[Tensor, "b n d"], g: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
    if g.is_cuda:  # products of matrices may be rounded to TF32 there
        return (history * g[:, None]).sum(-1)
    return torch.bmm(g[:, None], history.mT)[:, 0]  # this order is the fast one


def _mix(alpha: Float[Tensor, "b n"], history: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
    if alpha.is_cuda:
        return (alpha[..., None] * history).sum(1)
    return torch.bmm(alpha[:, None], history)[:, 0]
