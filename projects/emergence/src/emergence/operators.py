"""The zoo: operators whose regime, rate and limit are known, to judge `classify_block` by (§4.2, claim 1 of §8)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_positive
from .blocks import AveragedBlock, ConvexPotentialBlock, ExactRateBlock, random_orthogonal

Regime = Literal["contractive", "critical", "expansive", "inconclusive"]


class MatrixBlock(nn.Module):
    """x ↦ A x on row vectors.

    Args:
        matrix: A, square.

    Example:
        >>> MatrixBlock(torch.diag(torch.tensor([2.0, 3.0])))(torch.ones(1, 2))
        tensor([[2., 3.]])
    """

    matrix: Float[Tensor, "d d"]

    def __init__(self, matrix: Float[Tensor, "d d"]):
        super().__init__()
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix must be square, got shape {tuple(matrix.shape)}")
        self.register_buffer("matrix", matrix)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return x @ self.matrix.mT


class RotationBlock(MatrixBlock):
    """Rotates the planes (x₀, x₁), (x₂, x₃), … by one angle: an isometry without a limit.

    Args:
        dim: even.
        angle: in radians.

    Example:
        >>> RotationBlock(2, math.pi)(torch.tensor([[1.0, 0.0]])).round().tolist()
        [[-1.0, 0.0]]
    """

    def __init__(self, dim: int, angle: float, dtype: torch.dtype = torch.float32):
        check_positive(dim=dim)
        if dim % 2:
            raise ValueError(f"dim must be even, got {dim}: a rotation turns planes")
        cos, sin = math.cos(angle), math.sin(angle)
        plane = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        super().__init__(torch.block_diag(*[plane] * (dim // 2)).to(dtype))


class NegIdentity(nn.Module):
    """x ↦ −x: non-expansive, with one fixed point and no limit."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return -x


class ProjectionBlock(MatrixBlock):
    """The orthogonal projection on a random subspace: its limit exists and keeps what lies in the subspace.

    Args:
        dim: size of x.
        rank: dimension of the subspace, at most `dim`.
        generator: draws the subspace.

    Example:
        >>> p = ProjectionBlock(4, 2)
        >>> x = torch.randn(1, 4, dtype=torch.float64)
        >>> torch.allclose(p(p(x)), p(x))
        True
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ):
        check_positive(dim=dim, rank=rank)
        if rank > dim:
            raise ValueError(f"rank must be at most dim={dim}, got {rank}")
        basis = random_orthogonal(dim, generator=generator)[:, :rank]
        super().__init__((basis @ basis.mT).to(dtype))


NON_NORMAL = ((0.9, 10.0), (0.0, 0.9))
"""The matrix of T1: ‖A‖₂ ≈ 10.08, ρ = 0.9; ‖Aⁿ‖₂ first grows, to 38.7459 at n = 9."""


@dataclass(frozen=True)
class ZooEntry:
    """An operator with what is known about it.

    Args:
        name: what it is.
        block: the operator, float64.
        start: points to begin from, (n, dim).
        regime: what a classification must say.
        limit_exists: whether Tⁿx converges for every x; None where expansive.
        rho: the generalised Lipschitz radius.
        lip: Lip(T).
    """

    name: str
    block: nn.Module
    start: Float[Tensor, "n d"]
    regime: Regime
    limit_exists: bool | None
    rho: float
    lip: float


def operator_zoo(dim: int = 8, n_starts: int = 32, seed: int = 0) -> list[ZooEntry]:
    """The operators of claim 1: contractive, non-normal, critical with and without a limit, expansive.

    The averages of −I and of a rotation of all planes are contractive (the first is the zero map): an average stays
    critical only where T has more than one fixed point, as the reflection and the rotation with an axis have.

    Args:
        dim: size of the states, even and at least 4 (the non-normal matrix acts on each plane).
        n_starts: points to begin from.
        seed: of all draws.

    Example:
        >>> [entry.name for entry in operator_zoo()][:3]
        ['0.5 Q', '0.9 Q', 'non-normal']
    """
    check_positive(dim=dim, n_starts=n_starts)
    if dim % 2 or dim < 4:
        raise ValueError(f"dim must be even and at least 4, got {dim}")
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n_starts, dim, dtype=torch.float64, generator=generator)
    plane = torch.tensor(NON_NORMAL, dtype=torch.float64)
    non_normal = MatrixBlock(torch.block_diag(*[plane] * (dim // 2)))
    rotation = RotationBlock(dim, 1.0, torch.float64)
    reflection = MatrixBlock(torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(dim // 2)))
    axis = RotationBlock(dim - 2, 1.0, torch.float64).matrix
    turn = MatrixBlock(torch.block_diag(axis, torch.eye(2, dtype=torch.float64)))
    potential = ConvexPotentialBlock(dim, fraction=0.5, generator=generator).double()
    norm = float(torch.linalg.matrix_norm(plane, 2))
    rows: list[tuple[str, nn.Module, Regime, bool | None, float, float]] = [
        ("0.5 Q", ExactRateBlock(dim, 0.5, generator=generator), "contractive", True, 0.5, 0.5),
        ("0.9 Q", ExactRateBlock(dim, 0.9, generator=generator), "contractive", True, 0.9, 0.9),
        ("non-normal", non_normal, "contractive", True, 0.9, norm),
        ("-I", NegIdentity(), "critical", False, 1.0, 1.0),
        ("rotation", rotation, "critical", False, 1.0, 1.0),
        ("average of -I", AveragedBlock(NegIdentity()), "contractive", True, 0.0, 0.0),
        ("average of rotation", AveragedBlock(rotation), "contractive", True, math.cos(0.5), math.cos(0.5)),
        ("reflection", reflection, "critical", False, 1.0, 1.0),
        ("average of reflection", AveragedBlock(reflection), "critical", True, 1.0, 1.0),
        ("rotation with an axis", turn, "critical", False, 1.0, 1.0),
        ("average of rotation with an axis", AveragedBlock(turn), "critical", True, 1.0, 1.0),
        ("projection", ProjectionBlock(dim, dim // 2, generator=generator), "critical", True, 1.0, 1.0),
        ("convex potential", potential, "critical", True, 1.0, 1.0),
        ("1.05 Q", ExactRateBlock(dim, 1.05, generator=generator), "expansive", None, 1.05, 1.05),
    ]
    return [ZooEntry(name, block, start, *known) for name, block, *known in rows]  # type: ignore[arg-type]
