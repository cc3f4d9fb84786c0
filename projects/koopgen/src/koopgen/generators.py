"""The generator: a state-dependent mixture of exactly skew-adjoint and exactly self-adjoint matrices (NOTES: §3.2–3.4).

    G(z) = sum_i alpha_i(z) S_i + sum_j beta_j(z) H_j,      S_iᵀ = -S_i,   H_jᵀ = H_j

field="complex": z = (Re ζ, Im ζ), component i pairs with component i + d/2, and A + iB acts as R(A, B) = [[A, -B], [B, A]];
then S = R((A - Aᵀ)/2, (B + Bᵀ)/2) and H = R((A + Aᵀ)/2, (B - Bᵀ)/2). field="real": S = (A - Aᵀ)/2, H = (A + Aᵀ)/2.
The free A, B are mixed first and made skew or symmetric afterwards, so the structure has no rounding error at all.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .arguments import check_above_zero, check_choice, check_count, check_last, check_positive
from .gates import MixtureGate

FIELDS = ("complex", "real")
DISSIPATIONS = ("free", "nonpositive", "capped", "none")
BOUNDED = ("nonpositive", "capped")


class StateIndependentWarning(UserWarning):
    """The generator cannot depend on the state."""


def real_block(A: Float[Tensor, "*b n n"], B: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b 2n 2n"]:
    """R(A, B) = [[A, -B], [B, A]]: the complex matrix A + iB acting on (Re ζ, Im ζ).

    Example:
        >>> real_block(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
        tensor([[ 1., -2.],
                [ 2.,  1.]])
    """
    if A.shape != B.shape or A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(
            f"A and B must be square matrices of one shape, got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    return torch.cat([torch.cat([A, -B], -1), torch.cat([B, A], -1)], -2)


@dataclass(frozen=True)
class GeneratorParts:
    """A generator, its two parts and the weights that made them.

    Args:
        skew: G_s, equal to minus its transpose.
        self_adjoint: G_d, equal to its transpose.
        alpha, beta: weights of the skew and of the self-adjoint bases.
    """

    skew: Float[Tensor, "*b d d"]
    self_adjoint: Float[Tensor, "*b d d"]
    alpha: Float[Tensor, "*b m_skew"]
    beta: Float[Tensor, "*b m_self"]

    @property
    def total(self) -> Float[Tensor, "*b d d"]:
        """G = G_s + G_d."""
        return self.skew + self.self_adjoint


class _Bases(nn.Module):
    """m basis matrices of size d × d from free numbers: `free` is (m, 2, n, n) for A and B, or (m, 1, d, d)."""

    def __init__(self, m: int, d: int, field: str):
        super().__init__()
        check_count(m=m)
        check_positive(d=d)
        check_choice("field", field, FIELDS)
        if field == "complex" and d % 2:
            raise ValueError(f"d must be even for field='complex', got {d}: use d = {d + 1} or field='real'")
        self.m, self.d, self.field = m, d, field
        size = d // 2 if field == "complex" else d
        self.free = nn.Parameter(torch.randn(m, 2 if field == "complex" else 1, size, size) * size**-0.5)

    def coordinates(self) -> Float[Tensor, "m c n n"]:
        """What is mixed; made skew or symmetric afterwards. Computed once for all steps of a roll-out."""
        return self.free

    def structured(self, coordinates: Float[Tensor, "*b c n n"]) -> Float[Tensor, "*b d d"]:
        """The matrix of given coordinates."""
        raise NotImplementedError

    def mix(self, weights: Float[Tensor, "*b m"]) -> Float[Tensor, "*b d d"]:
        """The weighted sum of the bases."""
        check_last("weights", weights, self.m, "one weight a basis")
        coordinates = self.coordinates()
        return self.structured((weights @ coordinates.flatten(1)).unflatten(-1, coordinates.shape[1:]))

    def forward(self) -> Float[Tensor, "m d d"]:
        """All bases."""
        return self.structured(self.coordinates())

    def _assemble(self, coordinates: Tensor, sign: int) -> Tensor:
        """R(A + sign Aᵀ, B - sign Bᵀ)/2, or (A + sign Aᵀ)/2."""
        A = coordinates[..., 0, :, :]
        A = (A + sign * A.mT) / 2
        if self.field == "real":
            return A
        B = coordinates[..., 1, :, :]
        return real_block(A, (B - sign * B.mT) / 2)


class SkewAdjointBases(_Bases):
    """m matrices with Sᵀ = -S to the last bit: frequencies without growth or decay.

    Args:
        m: number of bases.
        d: size; even for field="complex".
        field: "complex" or "real".

    Example:
        >>> S = SkewAdjointBases(3, 6)()
        >>> S.shape, torch.equal(S.mT, -S)
        (torch.Size([3, 6, 6]), True)
    """

    def __init__(self, m: int, d: int, field: str = "complex"):
        super().__init__(m, d, field)

    def structured(self, coordinates: Float[Tensor, "*b c n n"]) -> Float[Tensor, "*b d d"]:
        return self._assemble(coordinates, -1)


class SelfAdjointBases(_Bases):
    """m matrices with Hᵀ = H to the last bit: rates of growth and decay.

    Args:
        m: number of bases.
        d: size; even for field="complex".
        field: "complex" or "real".
        sign: "free": H of either sign. "nonpositive": H = -M Mᵀ with M = R(A, B). "capped": H = cap · I - M Mᵀ.
        cap: c, the largest growth rate; belongs to sign="capped" and is needed there.

    Notes:
        Nonpositive H cannot hold a chaotic attractor off a sphere: the norm of z never grows, so sustained motion is possible
        only where zᵀ G_d z = 0. Use "free" for chaos, "capped" when growth must be bounded, "nonpositive" for
        relaxation (NOTES: §10.2). M starts so small that the mean rate is a tenth of the norm of a free basis, and
        with "capped" so that the mean rate is 0.

    Example:
        >>> H = SelfAdjointBases(3, 6, sign="nonpositive")()
        >>> torch.equal(H.mT, H), bool((torch.linalg.eigvalsh(H) < 1e-6).all())
        (True, True)
    """

    def __init__(self, m: int, d: int, field: str = "complex", sign: str = "free", cap: float | None = None):
        super().__init__(m, d, field)
        check_choice("sign", sign, ("free", *BOUNDED))
        check_cap(sign, cap)
        self.sign, self.cap = sign, cap
        if sign in BOUNDED:
            # M Mᵀ has the mean eigenvalue 2 of the matrix of independent entries it starts as, 1 in the real field.
            mean = 0.2 if cap is None else cap
            with torch.no_grad():
                self.free.mul_(math.sqrt(mean / (2 if field == "complex" else 1)))

    def coordinates(self) -> Float[Tensor, "m c n n"]:
        if self.sign == "free":
            return self.free
        A = self.free[:, 0]
        square = A @ A.mT
        if self.cap is not None:
            square = square - self.cap * torch.eye(len(A[0]) if len(A) else 0, dtype=A.dtype, device=A.device)
        if self.field == "real":
            return -square[:, None]
        B = self.free[:, 1]
        return -torch.stack([square + B @ B.mT, B @ A.mT - A @ B.mT], 1)

    def structured(self, coordinates: Float[Tensor, "*b c n n"]) -> Float[Tensor, "*b d d"]:
        return self._assemble(coordinates, 1)


def check_cap(sign: str, cap: float | None) -> None:
    """Raise unless `cap` is given exactly where it is used."""
    if sign == "capped":
        if cap is None:
            raise ValueError(
                "cap is missing: 'capped' needs the largest growth rate allowed, per unit of time"
            )
        check_above_zero(cap=cap)
    elif cap is not None:
        raise ValueError(f"cap={cap} belongs to 'capped', got {sign!r}")


class Generator(nn.Module):
    """z -> G(z), with its two parts, and in two pieces for roll-outs: what does not depend on z is computed once."""

    d: int
    gate: nn.Module
    scale: Tensor

    def parts(self, z: Float[Tensor, "*b d"]) -> GeneratorParts:
        """Skew and symmetric part of G(z), and the weights of the gate."""
        raise NotImplementedError

    def prepare(self) -> Float[Tensor, "m dd"]:
        """What does not depend on z: the matrices that the gate mixes, one a row. Computed once for a roll-out."""
        raise NotImplementedError

    def at(self, z: Float[Tensor, "*b d"], prepared: Float[Tensor, "m dd"]) -> Float[Tensor, "*b d d"]:
        """G(z), linear in what `prepare` gave."""
        raise NotImplementedError

    def bind(self) -> Callable[[Float[Tensor, "*b d"]], Float[Tensor, "*b d d"]]:
        """The function z -> G(z), with what does not depend on z computed once."""
        prepared = self.prepare()
        return lambda z: self.at(z, prepared)

    def forward(self, z: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d d"]:
        check_last("z", z, self.d, "d")
        return self.at(z, self.prepare())


class CartesianGenerator(Generator):
    """z -> G(z) = scale (sum_i alpha_i(z) S_i + sum_j beta_j(z) H_j), with the weights of a gate.

    The two parts are exactly skew and exactly symmetric for every z and every value of the parameters.

    Args:
        d: size of the latent state; even for field="complex".
        m_skew, m_self: numbers of bases, not both 0. A softmax group of one basis has no state dependence.
        field: "complex" or "real".
        dissipation: sign of the self-adjoint part, see `SelfAdjointBases`: "free" (growth or decay), "nonpositive", "capped", or
            "none" for m_self=0.
        cap: largest growth rate for "capped", in the unit of G.
        gate: "softmax", "linear" (unbounded weights: no hull, hence refused with "nonpositive" and "capped"), or a module
            that maps z to (alpha, beta).
        hidden, layers, noise, noise_steps: of the gate built here, see `MixtureGate`.
        scale: factor of the mixture; with S and H of norm about 2 at the start it sets the unit of the rates.

    Example:
        >>> generator = CartesianGenerator(6, m_skew=5, m_self=5).eval()
        >>> z = torch.randn(4, 6)
        >>> parts = generator.parts(z)
        >>> torch.equal(parts.skew.mT, -parts.skew), torch.equal(parts.self_adjoint.mT, parts.self_adjoint)
        (True, True)
        >>> torch.allclose(generator(z), parts.total, atol=1e-6)
        True
    """

    def __init__(
        self,
        d: int,
        m_skew: int,
        m_self: int,
        *,
        field: str = "complex",
        dissipation: str = "free",
        cap: float | None = None,
        gate: str | nn.Module = "softmax",
        hidden: int = 64,
        layers: int = 2,
        noise: float = 1.0,
        noise_steps: int = 15_000,
        scale: float = 1.0,
    ):
        super().__init__()
        check_positive(d=d)
        check_count(m_skew=m_skew, m_self=m_self)
        check_choice("dissipation", dissipation, DISSIPATIONS)
        check_cap(dissipation, cap)
        check_above_zero(scale=scale)
        if m_skew + m_self == 0:
            raise ValueError("m_skew and m_self are both 0: the generator needs at least one basis")
        if dissipation == "none" and m_self:
            raise ValueError(f"dissipation='none' means m_self=0, got m_self={m_self}: set it to 0")
        if dissipation in BOUNDED and not m_self:
            raise ValueError(f"dissipation={dissipation!r} needs m_self of at least 1, got 0")
        if dissipation in BOUNDED and gate == "linear":
            raise ValueError(
                f"dissipation={dissipation!r} with gate='linear' bounds nothing: weights may be negative; use gate='softmax'"
            )
        self.d, self.m_skew, self.m_self, self.field = d, m_skew, m_self, field
        sign = "free" if dissipation == "none" else dissipation
        self.skew = SkewAdjointBases(m_skew, d, field)
        self.self_adjoint = SelfAdjointBases(m_self, d, field, sign, None if cap is None else cap / scale)
        self.gate = (
            MixtureGate(d, m_skew, m_self, hidden, layers, gate, noise, noise_steps)
            if isinstance(gate, str)
            else gate
        )
        self.register_buffer("scale", torch.tensor(float(scale)))
        if getattr(self.gate, "state_independent", False):
            warnings.warn(
                f"m_skew={m_skew} and m_self={m_self} with a softmax gate make the generator independent of the state; "
                "take at least 2 bases in one group",
                StateIndependentWarning,
                stacklevel=2,
            )

    def parts(self, z: Float[Tensor, "*b d"]) -> GeneratorParts:
        """The two parts of G(z), exactly structured, and the weights of the gate."""
        check_last("z", z, self.d, "d")
        alpha, beta = self.gate(z)
        return GeneratorParts(
            self.scale * self.skew.mix(alpha), self.scale * self.self_adjoint.mix(beta), alpha, beta
        )

    def prepare(self) -> Float[Tensor, "m dd"]:
        """The bases, structured and scaled, one a row."""
        return (torch.cat([self.skew(), self.self_adjoint()]) * self.scale).flatten(1)

    def at(self, z: Float[Tensor, "*b d"], prepared: Float[Tensor, "m dd"]) -> Float[Tensor, "*b d d"]:
        """G(z) by one product of matrices.

        The parts are not told apart here, and their sum has the rounding error of a sum; `parts` mixes before it makes
        skew and symmetric, and has none.
        """
        return (torch.cat(self.gate(z), -1) @ prepared).unflatten(-1, (self.d, self.d))

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"d={self.d}, m_skew={self.m_skew}, m_self={self.m_self}, field={self.field!r}, sign={self.self_adjoint.sign!r}"
