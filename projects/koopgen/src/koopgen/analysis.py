"""What a trained generator says about a flow: the read-outs of §3.10, and roll-outs that last.

With z = Φ(x), and G_s, G_d the skew and the self-adjoint part of the generator at z, both per unit of physical time,

    local frequencies   |Im eig G_s(z)|              energy rate         ρ_d = zᵀ G_d z / ‖z‖² = d/dt ln ‖z‖
    local rates         eig G_d(z)                   dissipative share   ‖G_d z‖ / (‖G_s z‖ + ‖G_d z‖)

All of them belong to one state; none is a Koopman eigenvalue (10.1). They refer to the Euclidean inner product of the learned
latent space, so a rate here is not −½ div F (10.3).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .latent import LatentModel
from .model import GeneratorModel


@dataclass(frozen=True)
class Readouts:
    """Read-outs at states x, one row a state.

    Args:
        alpha, beta: weights of the skew and of the self-adjoint bases.
        frequencies: local frequencies, ascending, in radians per unit of time.
        rates: local rates, ascending; below 0 decay, above 0 growth.
        energy_rate: ρ_d, the rate at which ‖z‖ grows.
        dissipative_share: between 0 (rotation only) and 1; NaN where the generator sends z to 0.
    """

    alpha: Float[Tensor, "*b m_skew"]
    beta: Float[Tensor, "*b m_self"]
    frequencies: Float[Tensor, "*b half"]
    rates: Float[Tensor, "*b d"]
    energy_rate: Float[Tensor, "*b"]
    dissipative_share: Float[Tensor, "*b"]


@torch.no_grad()
def read_out(model: GeneratorModel, x: Float[Tensor, "*b n_x"]) -> Readouts:
    """All read-outs of a model at physical states, without the noise of training.

    Args:
        model: a model with a generator; it is put into evaluation mode.
        x: states in physical units.

    Raises:
        TypeError: if the model has no generator.

    Example:
        >>> from koopgen.model import KoopGen
        >>> found = read_out(KoopGen(3, 6, dt=0.01, hidden=16), torch.randn(50, 3))
        >>> found.frequencies.shape, found.rates.shape, found.energy_rate.shape
        (torch.Size([50, 3]), torch.Size([50, 6]), torch.Size([50]))
    """
    _check_generator(model)
    model.eval()
    z = model.encode(x)
    parts = model.generator.parts(z)
    transport = (parts.skew @ z[..., None])[..., 0]
    dissipation = (parts.self_adjoint @ z[..., None])[..., 0]
    size, loss = transport.norm(dim=-1), dissipation.norm(dim=-1)
    half = z.shape[-1] // 2
    return Readouts(
        alpha=parts.alpha,
        beta=parts.beta,
        frequencies=torch.linalg.eigvalsh(1j * parts.skew)[..., -half:].clamp(min=0),
        rates=torch.linalg.eigvalsh(parts.self_adjoint),
        energy_rate=(z * dissipation).sum(-1) / z.square().sum(-1),
        dissipative_share=loss / (size + loss),
    )


@torch.no_grad()
def amplitudes_and_phases(
    model: GeneratorModel, x: Float[Tensor, "*b n_x"]
) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
    """|ζ_i| and arg ζ_i of the complex components ζ_i = z_i + i z_{i + d/2} at physical states.

    Raises:
        TypeError: if the model has no generator.
        ValueError: if its latent space is real: components have no phase there.
    """
    _check_generator(model)
    field = getattr(model.generator, "field", None)
    if field != "complex":
        raise ValueError(f"phases need a model of field='complex', got field={field!r}")
    real, imaginary = model.encode(x).chunk(2, -1)
    return torch.hypot(real, imaginary), torch.atan2(imaginary, real)


def _check_generator(model: LatentModel) -> None:
    if not isinstance(model, GeneratorModel):
        raise TypeError(
            f"{type(model).__name__} has no generator to read; use KoopGen, ConstantGenerator or UnstructuredGenerator"
        )


def in_float64(model: LatentModel) -> LatentModel:
    """A copy in double precision and evaluation mode, its Taylor propagator with order 18, which is round-off there.

    Example:
        >>> from koopgen.model import KoopGen
        >>> in_float64(KoopGen(2, 2, dt=0.05, hidden=8)).dtype
        torch.float64
    """
    config = dict(model.config)
    if "order" in config:
        config["order"] = max(config["order"] or 0, 18)
    copy = type(model)(**config)
    copy.load_state_dict(model.state_dict())
    return copy.double().eval().to(next(model.parameters()).device)


# Roll-outs that last --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LongRun:
    """A long roll-out, thinned.

    Args:
        x: states in physical units, one row a trajectory, every `stride`-th step.
        stride: steps from one kept state to the next.
        finite: whether the roll-out stayed finite, at all its steps.
        log_norm: ln ‖z_k‖ at every step.
        log_bound: what P3 allows for it; None for a model without a generator.
        holds: whether P3 held at every step that is finite, up to round-off; None for a model without a generator.
    """

    x: Float[Tensor, "b kept n_x"]
    stride: int
    finite: Bool[Tensor, "b"]
    log_norm: Float[Tensor, "b n"]
    log_bound: Float[Tensor, "b n"] | None = None
    holds: Bool[Tensor, "b"] | None = None

    def share_within(self, low: Float[Tensor, "n_x"], high: Float[Tensor, "n_x"]) -> float:
        """Share of the kept states all of whose channels lie in [low, high]; what is not finite lies outside."""
        inside = (self.x >= low.to(self.x)) & (self.x <= high.to(self.x))
        return float(inside.all(-1).double().mean())


def widened_range(
    x: Float[Tensor, "*b n_x"], margin: float = 0.5
) -> tuple[Float[Tensor, "n_x"], Float[Tensor, "n_x"]]:
    """Least and largest value of each channel, moved outwards by `margin` times their distance.

    Example:
        >>> widened_range(torch.tensor([[0.0], [2.0]]))
        (tensor([-1.]), tensor([3.]))
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be at least 0, got {margin}")
    low, high = x.flatten(0, -2).aminmax(dim=0)
    return low - margin * (high - low), high + margin * (high - low)


@torch.no_grad()
def long_run(model: LatentModel, x0: Float[Tensor, "b n_x"], steps: int, stride: int = 1) -> LongRun:
    """Roll out for many steps from single states, in double precision, with the certificate P3 where there is one.

    The certificate says ‖z_k‖ ≤ ‖z_0‖ exp(Δt Σ λ_max(G_d(z_j))): it bounds the roll-out by what was met on the way.

    Args:
        model: any model of this package; it is copied.
        x0: first states.
        steps: number of steps.
        stride: keep every `stride`-th state.

    Raises:
        ValueError: if `stride` is below 1.

    Example:
        >>> from koopgen.model import KoopGen
        >>> model = KoopGen(3, 6, dt=0.01, hidden=16, dissipation="nonpositive")
        >>> run = long_run(model, torch.randn(4, 3), steps=200, stride=10)
        >>> run.x.shape, bool(run.holds.all()), bool((run.log_norm.diff(dim=1) < 1e-12).all())
        (torch.Size([4, 21, 3]), True, True)
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    precise = in_float64(model)
    z0 = precise.encode(x0.double())
    bound = holds = None
    if isinstance(precise, GeneratorModel):
        certificate = precise.log_norm_certificate(z0, steps)
        z, bound = certificate.z, certificate.log_bound
        gap = certificate.log_norm - bound
        gap = torch.where(
            gap.isfinite(), gap, -torch.inf
        )  # an overflow is reported by `finite`, it is no violation
        holds = gap.amax(1) <= 32 * z.shape[1] * torch.finfo(z.dtype).eps
    else:
        z = precise.rollout(z0, steps=steps)
    finite = z.isfinite().flatten(1).all(1)
    return LongRun(precise.decode(z[:, ::stride]), stride, finite, z.norm(dim=-1).log(), bound, holds)
