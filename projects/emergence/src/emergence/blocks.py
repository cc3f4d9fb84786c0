"""Blocks whose Lipschitz constant is known or held by construction (§4.2).

    ExactRateBlock         λ Q z + c (+ U x)           Lip = λ, and ‖Tᴾz − z*‖ = λᴾ ‖z − z*‖ exactly
    TanhBlock              tanh(λ W z + b)             Lip ≤ λ ‖W‖, the mean-field model of depth
    InjectedBlock          tanh(W z + U x + b)         Lip in z ≤ λ whatever is trained
    AveragedBlock          (1−α) x + α T(x)            averaged if T is non-expansive (T4 of §3.2)
    ConvexPotentialBlock   x − h Wᵀ σ(W x + b)         Lip ≤ 1 for h ≤ 2/‖W‖², averaged for h below
    SpectralLinear, OrthogonalLinear, GroupSort2       the parts of 1-Lipschitz networks

States are (..., dim). Controlled blocks hold buffers drawn from a generator; the others hold parameters.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from .arguments import check_above_zero, check_choice, check_open_unit, check_positive
from .bounds.matrices import spectral_norm_upper

Activation = Callable[[Tensor], Tensor]


def random_orthogonal(
    dim: int, *, dtype: torch.dtype = torch.float64, generator: torch.Generator | None = None
) -> Float[Tensor, "dim dim"]:
    """A Haar-distributed orthogonal matrix: QR of a Gaussian, signs made unique.

    Example:
        >>> q = random_orthogonal(4)
        >>> torch.allclose(q @ q.T, torch.eye(4, dtype=q.dtype))
        True
    """
    check_positive(dim=dim)
    q, r = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))
    return (q * r.diagonal().sign()).to(dtype)


def _check_last(name: str, x: Tensor, dim: int) -> None:
    if x.shape[-1] != dim:
        raise ValueError(f"{name} has {x.shape[-1]} features, this block takes {dim}")


class ExactRateBlock(nn.Module):
    """T(z; x) = λ Q z + c + U x with Q orthogonal: contracts every difference by λ exactly.

    Args:
        dim: size of the state z.
        lam: λ, above 0; at 1 an isometry, above 1 expansive.
        d_in: size of the injected input x; 0 for none.
        offset: standard deviation of the entries of c.
        dtype: of the buffers.
        generator: draws Q, c and U.

    Example:
        >>> block = ExactRateBlock(4, 0.5)
        >>> z = torch.ones(1, 4, dtype=torch.float64)
        >>> error = block(z) - block.fixed_point()
        >>> round(float(error.norm() / (z - block.fixed_point()).norm()), 9)
        0.5
    """

    q: Float[Tensor, "dim dim"]
    c: Float[Tensor, "dim"]
    u: Float[Tensor, "dim d_in"]

    def __init__(
        self,
        dim: int,
        lam: float,
        *,
        d_in: int = 0,
        offset: float = 1.0,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_above_zero(lam=lam)
        self.dim, self.lam, self.d_in = dim, lam, d_in
        self.register_buffer("q", random_orthogonal(dim, dtype=dtype, generator=generator))
        draw = torch.randn(dim, 1 + d_in, dtype=torch.float64, generator=generator).to(dtype)
        self.register_buffer("c", offset * draw[:, 0])
        self.register_buffer("u", draw[:, 1:] / max(d_in, 1) ** 0.5)

    def forward(
        self, z: Float[Tensor, "... dim"], x: Float[Tensor, "... d_in"] | None = None
    ) -> Float[Tensor, "... dim"]:
        _check_last("z", z, self.dim)
        return self.lam * z @ self.q.mT + self._shift(x)

    def _shift(self, x: Tensor | None) -> Tensor:
        if x is None:
            return self.c
        _check_last("x", x, self.d_in)
        return self.c + x @ self.u.mT

    def fixed_point(self, x: Float[Tensor, "... d_in"] | None = None) -> Float[Tensor, "... dim"]:
        """(I − λQ)⁻¹ (c + U x); for λ = 1 it may not exist, and the linear solver says so."""
        matrix = torch.eye(self.dim, dtype=self.q.dtype, device=self.q.device) - self.lam * self.q
        return torch.linalg.solve(matrix, self._shift(x).unsqueeze(-1)).squeeze(-1)


class TanhBlock(nn.Module):
    """T(z) = tanh(λ W z + b), W orthogonal or with independent entries N(0, 1/dim).

    Args:
        dim: size of the state.
        lam: λ, above 0.
        weights: "orthogonal" (Lip ≤ λ) or "iid" (‖W‖ near 2).
        bias_std: standard deviation of the entries of b.
        dtype: of the buffers.
        generator: draws W and b.

    Example:
        >>> TanhBlock(4, 0.9)(torch.ones(2, 4, dtype=torch.float64)).abs().max().item() < 1
        True
    """

    weight: Float[Tensor, "dim dim"]
    bias: Float[Tensor, "dim"]

    def __init__(
        self,
        dim: int,
        lam: float,
        *,
        weights: str = "orthogonal",
        bias_std: float = 0.0,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_above_zero(lam=lam)
        check_positive(dim=dim)
        check_choice("weights", weights, ("orthogonal", "iid"))
        self.dim, self.lam = dim, lam
        if weights == "orthogonal":
            w = random_orthogonal(dim, dtype=dtype, generator=generator)
        else:
            w = (torch.randn(dim, dim, dtype=torch.float64, generator=generator) / dim**0.5).to(dtype)
        b = torch.randn(dim, dtype=torch.float64, generator=generator).to(dtype)
        self.register_buffer("weight", lam * w)
        self.register_buffer("bias", bias_std * b)

    def forward(self, z: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        _check_last("z", z, self.dim)
        return torch.tanh(z @ self.weight.mT + self.bias)


class AveragedBlock(nn.Module):
    """(1 − α) x + α T(x): a residual connection x + α (T x − x), read as an average (T4 of §3.2).

    Args:
        block: T, from states to states of the same shape.
        alpha: α, strictly between 0 and 1.

    Example:
        >>> AveragedBlock(nn.Identity(), 0.5)(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    def __init__(self, block: nn.Module, alpha: float = 0.5):
        super().__init__()
        check_open_unit(alpha=alpha)
        self.block, self.alpha = block, alpha

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.lerp(x, self.block(x), self.alpha)


class ConvexPotentialBlock(nn.Module):
    """x − h Wᵀ σ(W x + b): a step down a convex potential, with Lip ≤ 1 by construction.

    σ must be elementwise, non-decreasing and 1-Lipschitz. h = `fraction` · 2/‖W‖², with an upper certificate in the
    place of ‖W‖: an estimate from below would break the bound. With `fraction` < 1 the block is averaged.

    Args:
        dim: size of x.
        hidden: rows of W; default `dim`.
        activation: σ.
        fraction: of the largest step allowed, in (0, 1].
        generator: draws W.

    Example:
        >>> block = ConvexPotentialBlock(4)
        >>> x, y = torch.randn(2, 10, 4)
        >>> bool(((block(x) - block(y)).norm(dim=1) <= (x - y).norm(dim=1) * (1 + 1e-6)).all())
        True
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        activation: Activation = torch.relu,
        fraction: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        hidden = dim if hidden is None else hidden
        check_positive(dim=dim, hidden=hidden)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}; above 1 the block may expand")
        self.dim, self.activation, self.fraction = dim, activation, fraction
        self.weight = nn.Parameter(torch.randn(hidden, dim, generator=generator) / dim**0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))

    def step(self) -> Float[Tensor, ""]:
        """h, recomputed from the weights as they are."""
        tiny = torch.finfo(self.weight.dtype).tiny ** 0.5
        return self.fraction * 2 / spectral_norm_upper(self.weight).clamp_min(tiny) ** 2

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        _check_last("x", x, self.dim)
        hidden = self.activation(x @ self.weight.mT + self.bias)
        return x - self.step() * (hidden @ self.weight)


class SpectralCap(nn.Module):
    """Parametrisation W ↦ W · min(1, bound / ‖W‖₂) with an upper certificate of the norm."""

    def __init__(self, bound: float):
        super().__init__()
        check_above_zero(bound=bound)
        self.bound = bound

    def forward(self, weight: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        upper = spectral_norm_upper(weight)
        return weight * torch.clamp(self.bound / upper.clamp_min(torch.finfo(weight.dtype).tiny), max=1.0)

    def right_inverse(self, weight: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
        return weight


class SpectralLinear(nn.Linear):
    """A linear layer whose matrix never has a norm above `bound`, whatever is trained.

    Example:
        >>> layer = SpectralLinear(4, 4, bound=0.5)
        >>> float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) <= 0.5
        True
    """

    def __init__(self, in_features: int, out_features: int, bound: float = 1.0, bias: bool = True):
        super().__init__(in_features, out_features, bias=bias)
        parametrize.register_parametrization(self, "weight", SpectralCap(bound))


class OrthogonalLinear(nn.Linear):
    """A linear layer whose matrix has orthonormal columns (or rows), through torch's parametrisation.

    Example:
        >>> layer = OrthogonalLinear(3, 5)
        >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(3), atol=1e-5)
        True
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias=bias)
        parametrizations.orthogonal(self, "weight")


class GroupSort2(nn.Module):
    """Sorts neighbouring pairs of features: a non-linearity whose Jacobian is a permutation.

    Example:
        >>> GroupSort2()(torch.tensor([[2.0, 1.0, 3.0, 4.0]]))
        tensor([[1., 2., 3., 4.]])
    """

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        if x.shape[-1] % 2:
            raise ValueError(f"GroupSort2 needs an even number of features, got {x.shape[-1]}")
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([torch.minimum(a, b), torch.maximum(a, b)], dim=-1).flatten(-2)


class InjectedBlock(nn.Module):
    """T(z; x) = tanh(W z + U x + b) with ‖W‖₂ ≤ λ held while training: its limit depends on the input (T6 of §3.2).

    Args:
        dim: size of the state z.
        d_in: size of the injected input x.
        lam: λ, the certified bound of Lip in z; above 0.

    Example:
        >>> block = InjectedBlock(4, 2, lam=0.8)
        >>> block(torch.zeros(3, 4), torch.ones(3, 2)).shape
        torch.Size([3, 4])
    """

    def __init__(self, dim: int, d_in: int, lam: float = 0.9):
        super().__init__()
        check_positive(dim=dim, d_in=d_in)
        self.dim, self.d_in, self.lam = dim, d_in, lam
        self.state = SpectralLinear(dim, dim, bound=lam, bias=False)
        with torch.no_grad():  # start at the bound, not somewhere below
            self.state.weight = random_orthogonal(dim, dtype=torch.float32) * lam
        self.input = nn.Linear(d_in, dim)

    def forward(self, z: Float[Tensor, "... dim"], x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... dim"]:
        _check_last("z", z, self.dim)
        _check_last("x", x, self.d_in)
        return torch.tanh(self.state(z) + self.input(x))
