"""Legendre, Gram and Chebyshev polynomials by their three-term recurrences (notes section 3.7).

Nothing is cached between calls: caches keyed by tensors keep activations alive (pitfall P8).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..arguments import check_choice, check_positive
from .basis import Basis


class LegendreBasis(Basis):
    """P_0 ... P_degree of x scaled to [-1, 1].

    Args:
        degree: highest degree; n_basis = degree + 1.
        scaling: "minmax" scales by the smallest and largest entry of the whole tensor, as the paper's KALN does, so
            outputs depend on what else is in the batch; "none" takes x as it is.

    Example:
        >>> LegendreBasis(3)(torch.randn(4, 3)).shape
        torch.Size([4, 3, 4])
    """

    def __init__(self, degree: int = 3, scaling: str = "minmax"):
        super().__init__()
        check_positive(degree=degree)
        check_choice("scaling", scaling, ("minmax", "none"))
        self.degree, self.scaling = degree, scaling
        self.n_basis = degree + 1

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of the polynomials; a constant tensor is scaled to 0."""
        t = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.scaling == "minmax" and t.numel():
            low, high = t.min(), t.max()
            span = (high - low).clamp_min(torch.finfo(t.dtype).tiny)
            t = torch.where(high > low, 2.0 * (t - low) / span - 1.0, t - low)
        values = [torch.ones_like(t) + 0.0 * t, t]  # 0 * t keeps NaN visible in P_0
        for n in range(1, self.degree):
            values.append(((2 * n + 1) * t * values[n] - n * values[n - 1]) / (n + 1))
        return torch.stack(values, dim=-1).to(x.dtype)

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.degree}, scaling={self.scaling!r}"


class GramBasis(Basis):
    """SiLU of the Gram polynomials of tanh(x), with trainable recurrence weights b_n.

    P_0 = 1, P_1 = t, P_i = t P_{i-1} - beta(i-1, i) P_{i-2} with t = tanh(x) and
    beta(n, m) = (m + n)(m - n) n^2 / (m^2 / (4 n^2 - 1)) * b_n. The degree + 1 numbers b are ordinary parameters.

    Args:
        degree: highest degree; n_basis = degree + 1.

    Example:
        >>> GramBasis(3)(torch.randn(4, 3)).shape
        torch.Size([4, 3, 4])
    """

    def __init__(self, degree: int = 3):
        super().__init__()
        check_positive(degree=degree)
        self.degree = degree
        self.n_basis = degree + 1
        self.beta = nn.Parameter(torch.zeros(degree + 1))
        nn.init.normal_(self.beta, std=1.0 / (9 * (degree + 1)))

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of SiLU(P_i(tanh x)), i = 0 ... degree."""
        wide = torch.promote_types(x.dtype, torch.float32)
        t = torch.tanh(x.to(wide))
        beta = self.beta.to(wide)
        values = [torch.ones_like(t) + 0.0 * t, t]
        for m in range(2, self.degree + 1):
            n = m - 1
            factor = (m + n) * (m - n) * n**2 / (m**2 / (4.0 * n**2 - 1.0))
            values.append(t * values[-1] - factor * beta[n] * values[-2])
        return F.silu(torch.stack(values, dim=-1)).to(x.dtype)

    def extra_repr(self) -> str:
        """Shown by print."""
        return str(self.degree)


class ChebyshevBasis(Basis):
    """T_0 ... T_degree of tanh(x): T_m(t) = cos(m arccos t).

    Evaluated by the recurrence T_{m+1} = 2 t T_m - T_{m-1}: the same values, and gradients that stay finite at |t| = 1.

    Args:
        degree: highest degree; n_basis = degree + 1.

    Example:
        >>> ChebyshevBasis(3)(torch.randn(4, 3)).shape
        torch.Size([4, 3, 4])
    """

    def __init__(self, degree: int = 3):
        super().__init__()
        check_positive(degree=degree)
        self.degree = degree
        self.n_basis = degree + 1

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of the polynomials."""
        t = torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))
        values = [torch.ones_like(t) + 0.0 * t, t]
        for _ in range(1, self.degree):
            values.append(2.0 * t * values[-1] - values[-2])
        return torch.stack(values, dim=-1).to(x.dtype)

    def extra_repr(self) -> str:
        """Shown by print."""
        return str(self.degree)
