"""Equations on the unit ball for physics-informed networks (notes §5.4).

The boundary condition u = 0 on ‖x‖ = 1 is built into the ansatz û(x) = (1 − ‖x‖²) net(x), so that training only sees
the residual of the equation inside:

    Poisson        Δu            = f
    Allen–Cahn     Δu + u − u³   = f        (stationary)

with f made from the exact solution u(x) = (1 − ‖x‖²) Σ_{i<d} c_i sin(x_i + cos x_{i+1} + x_{i+1} cos x_i), c_i ~ N(0, 1).
In high dimension the Laplacian is estimated from a few coordinates a step (stochastic dimension gradient descent, SDGD).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Scalar = Callable[[Float[Tensor, "n d"]], Tensor]
"""A scalar function of points: (n, d) -> (n,) or (n, 1)."""


class HardBallAnsatz(nn.Module):
    """û(x) = (1 − ‖x‖²) · net(x): vanishes on the unit sphere whatever the network does.

    Args:
        net: maps points (n, d) to (n, 1) or (n,).

    Example:
        >>> u = HardBallAnsatz(nn.Linear(3, 1))
        >>> u(torch.tensor([[0.6, 0.8, 0.0]])).abs().max().item() < 1e-6
        True
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        value = self.net(x)
        if value.numel() != x.shape[0]:
            raise ValueError(
                f"net must give one number a point, got shape {tuple(value.shape)} for {x.shape[0]} points"
            )
        return (1 - x.square().sum(-1)) * value.reshape(x.shape[0])


def laplacian_along(f: Scalar, x: Float[Tensor, "n d"], dims: Int[Tensor, "v"]) -> Float[Tensor, "n"]:
    """Σ_{i in dims} ∂²f/∂x_i², scaled by d / len(dims); differentiable with respect to the parameters of f.

    The points are repeated once a coordinate, so that one reverse pass over another gives all second derivatives:
    few large operations instead of many small ones.
    """
    n, d = x.shape
    direction = F.one_hot(dims, d).to(x).repeat_interleave(n, 0)  # (v n) d
    with torch.enable_grad():
        copies = x.detach().repeat(dims.numel(), 1).requires_grad_()
        (gradient,) = torch.autograd.grad(f(copies).sum(), copies, create_graph=True)
        slope = (gradient * direction).sum()
        if not slope.requires_grad:  # a constant gradient (f affine) has no second derivative
            return x.new_zeros(n)
        (second,) = torch.autograd.grad(slope, copies, create_graph=True, materialize_grads=True)
    return (second * direction).sum(-1).unflatten(0, (-1, n)).sum(0) * (d / dims.numel())


def draw_dims(dim: int, n_dims: int | None, generator: torch.Generator | None = None) -> Int[Tensor, "v"]:
    """`n_dims` of `dim` coordinates without replacement; all of them for None or n_dims >= dim.

    Raises:
        ValueError: if n_dims < 1.
    """
    if n_dims is not None and n_dims < 1:
        raise ValueError(f"n_dims must be at least 1, or None for the full Laplacian; got {n_dims}")
    if n_dims is None or n_dims >= dim:
        return torch.arange(dim)
    return torch.randperm(dim, generator=generator)[:n_dims]


def sdgd_laplacian(
    f: Scalar, x: Float[Tensor, "n d"], n_dims: int | None = None, generator: torch.Generator | None = None
) -> Float[Tensor, "n"]:
    """Laplacian of a scalar function, estimated without bias from `n_dims` random coordinates.

    The second derivatives along the drawn coordinates are scaled by d / n_dims ("method 3" of the SDGD code); the
    subset is drawn once a call and shared by all points. `n_dims=None` or `n_dims >= d` gives the full Laplacian
    ("method 0").

    Args:
        f: maps (n, d) to (n,) or (n, 1); each output may depend on its own point only.
        x: points (n, d).
        n_dims: number of coordinates V.
        generator: a CPU generator for the subset.

    Raises:
        ValueError: if x is not (n, d), or n_dims < 1.

    Example:
        >>> x = torch.randn(5, 3)
        >>> sdgd_laplacian(lambda x: x.square().sum(-1), x).tolist()
        [6.0, 6.0, 6.0, 6.0, 6.0]
    """
    if x.ndim != 2:
        raise ValueError(f"x must be points of shape (n, d), got shape {tuple(x.shape)}")
    return laplacian_along(f, x, draw_dims(x.shape[1], n_dims, generator))


def _identity_residual(u: Tensor) -> Tensor:
    return torch.zeros_like(u)


def _allen_cahn_reaction(u: Tensor) -> Tensor:
    return u - u**3


@dataclass(frozen=True, eq=False)
class BallProblem:
    """Δu + reaction(u) = f on the unit ball of R^d, u = 0 on the sphere, with a known solution.

    Args:
        name: "poisson" or "allen_cahn".
        coefficients: the c_i of the exact solution, (d − 1,), float64.
        reaction: the zeroth-order term of the equation.

    Example:
        >>> problem = poisson_problem(4)
        >>> x = problem.sample(6, torch.Generator().manual_seed(0))
        >>> torch.allclose(problem.source(x), problem.source_autograd(x), atol=1e-4)
        True
    """

    name: str
    coefficients: Float[Tensor, "d-1"] = field(repr=False)
    reaction: Callable[[Tensor], Tensor] = field(repr=False)

    @property
    def dim(self) -> int:
        return self.coefficients.numel() + 1

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Directions uniform on the sphere, radius uniform in (0, 1): denser at the centre, as in the reference."""
        direction = F.normalize(torch.randn(n, self.dim, generator=generator), dim=-1)
        return direction * torch.rand(n, 1, generator=generator)

    def exact(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """The solution u(x)."""
        self._check(x)
        return (1 - x.square().sum(-1)) * (self.coefficients.to(x) * self._phase(x).sin()).sum(-1)

    def source(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """f(x) in closed form: Δ[(1 − r²) s] = −2 d s − 4 x·∇s + (1 − r²) Δs, plus the reaction term."""
        self._check(x)
        c, g = self.coefficients.to(x), self._phase(x)
        left, right = x[:, :-1], x[:, 1:]
        g_left, g_right = 1 - right * left.sin(), left.cos() - right.sin()  # ∂g_i/∂x_i, ∂g_i/∂x_{i+1}
        g_second = -right * left.cos() - right.cos()  # the two second derivatives, added
        s = (c * g.sin()).sum(-1)
        x_dot_grad = (c * g.cos() * (left * g_left + right * g_right)).sum(-1)
        laplacian = (c * (g.cos() * g_second - g.sin() * (g_left.square() + g_right.square()))).sum(-1)
        ball = 1 - x.square().sum(-1)
        return -2 * self.dim * s - 4 * x_dot_grad + ball * laplacian + self.reaction(ball * s)

    def source_autograd(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """f(x) by differentiating the exact solution; the check of `source`."""
        return (sdgd_laplacian(self.exact, x) + self.reaction(self.exact(x))).detach()

    def residual(
        self,
        u: Scalar,
        x: Float[Tensor, "n d"],
        n_dims: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n"]:
        """Δu + reaction(u) − f at the points x, the Laplacian from `n_dims` coordinates (see `sdgd_laplacian`)."""
        return sdgd_laplacian(u, x, n_dims, generator) + self.reaction(u(x).reshape(-1)) - self.source(x)

    def _phase(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d-1"]:
        left, right = x[:, :-1], x[:, 1:]
        return left + right.cos() + right * left.cos()

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x must have shape (n, {self.dim}), got {tuple(x.shape)}")


def _coefficients(dim: int, seed: int) -> Float[Tensor, "d-1"]:
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}")
    return torch.randn(dim - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def poisson_problem(dim: int, seed: int = 0) -> BallProblem:
    """Δu = f on the unit ball of R^dim; `seed` draws the coefficients of the exact solution."""
    return BallProblem("poisson", _coefficients(dim, seed), _identity_residual)


def allen_cahn_problem(dim: int, seed: int = 0) -> BallProblem:
    """Δu + u − u³ = f on the unit ball of R^dim; `seed` draws the coefficients of the exact solution."""
    return BallProblem("allen_cahn", _coefficients(dim, seed), _allen_cahn_reaction)


PROBLEMS: dict[str, Callable[[int, int], BallProblem]] = {
    "poisson": poisson_problem,
    "allen_cahn": allen_cahn_problem,
}


def squared_residual(
    problem: BallProblem,
    u: Scalar,
    x: Float[Tensor, "n d"],
    n_dims: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared residual, the usual loss. With n_dims < d it also carries the variance of the Laplacian estimate:
    its floor is not zero, so a solution is judged by `relative_errors`, not by this number (pitfall P15)."""
    return problem.residual(u, x, n_dims, generator).square().mean()


def residual_product(
    problem: BallProblem,
    u: Scalar,
    x: Float[Tensor, "n d"],
    n_dims: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean of two residuals with independent subsets: an unbiased estimate of the full squared residual (P15).

    Costs twice the Laplacians; may be negative, and its minimum over parameters is that of the full loss.
    """
    first = problem.residual(u, x, n_dims, generator)
    second = problem.residual(u, x, n_dims, generator)
    return (first * second).mean()


LOSSES = {"square": squared_residual, "product": residual_product}


def relative_errors(prediction: Float[Tensor, "n"], exact: Float[Tensor, "n"]) -> tuple[float, float]:
    """Relative L2 and L1 errors on a set of points: ‖û − u‖ / ‖u‖.

    Raises:
        ValueError: if the shapes differ (a silent broadcast would give a wrong number).
    """
    if prediction.shape != exact.shape:
        raise ValueError(f"prediction has shape {tuple(prediction.shape)}, exact has {tuple(exact.shape)}")
    difference = prediction - exact
    return (
        float(difference.norm() / exact.norm()),
        float(difference.abs().sum() / exact.abs().sum()),
    )
