"""K1: the structure is exact at any parameter value — an identity of the parametrisation, no penalty (§3.9, P1–P8)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Measurement, Scale, Table, Value, claim

from ..gates import MixtureGate
from ..generators import CartesianGenerator
from ..model import KoopGen
from ..propagators import cayley_step, expm_step, get_propagator, taylor_step
from .samples import Sizes, make_sets
from .training import Recipe, derive, device_for, in_words, seeded, train

STATES = 16
"""Latent states that each generator is looked at."""


@dataclass(frozen=True)
class Effort:
    """Latent sizes, and steps of the roll-out on the sphere (P5)."""

    dimensions: tuple[int, ...]
    steps: int


EFFORTS = {
    Scale.SMOKE: Effort((2, 6, 32), 10_000),
    Scale.CPU: Effort((2, 6, 32, 64), 100_000),
    Scale.GPU: Effort((2, 6, 32, 64, 128), 20_000),
    Scale.PAPER: Effort((2, 6, 32, 64, 128), 100_000),
}

LIMITS: dict[str, dict[torch.dtype, float]] = {
    "P1 skew and symmetric residual": {torch.float32: 0.0, torch.float64: 0.0},
    "P2 orthogonality of exp(G_s)": {torch.float32: 1e-5, torch.float64: 1e-12},
    "P2 determinant of exp(G_s) - 1": {torch.float32: 1e-4, torch.float64: 1e-11},
    "P3 excess over the log-norm bound": {torch.float32: 1e-5, torch.float64: 1e-12},
    "P4 Cayley energy balance": {torch.float32: 1e-4, torch.float64: 1e-10},
    "P5 drift of the norm": {torch.float64: 1e-9},
    "P6 expm - taylor": {torch.float32: 1e-5, torch.float64: 1e-11},
    "P7 eigenvalues outside the hull": {torch.float32: 1e-4, torch.float64: 1e-12},
    "P8 constant gate - fixed matrix": {torch.float32: 1e-5, torch.float64: 1e-12},
}
"""Largest residual allowed, relative to the size of what is compared where that is not 1."""

CAYLEY_RATIO = (7.5, 8.5)
"""Error of the Cayley step over that of half the step: 8 in the limit (P6)."""


@claim(
    "K1",
    "Exact structure at any parameter value",
    source="abstract; section 3, structure-preserving parametrisation",
    known_gaps={
        "cpu": "in float32 the rounding of three steps with a constant gate (P8) is 1.07e-5 with seed 2 where 1e-5 are allowed; in float64 "
        "it is 1e-15, and everything else is within its limits with every seed"
    },
)
def exact_structure(scale: Scale, seed: int) -> Measurement:
    """P1–P8 for random weights and after 20 optimiser steps, in float32 and float64. smoke: d in {2, 6, 32}, P5 over 10⁴
    steps; cpu: d = 64 too, 10⁵ steps; gpu, paper: on the device, d = 128 too. P1 exactly 0; P2 < 1e-5 (float32), 1e-12
    (float64); P4 < 1e-10 (float64); P5 < 1e-9 (float64); the Cayley error falls by 7.5 to 8.5 per halved step (P6)."""
    return measure(EFFORTS[scale], seed, device_for(scale))


def measure(effort: Effort, seed: int, device: torch.device) -> Measurement:
    worst: dict[tuple[str, torch.dtype], float] = {}
    ratios: list[float] = []
    for generator in generators(effort, seed, device):
        for dtype in (torch.float32, torch.float64):
            z = states(generator.d, seed, device, dtype)
            for name, residual in residuals(generator.to(dtype), z).items():
                worst[name, dtype] = max(worst.get((name, dtype), 0.0), residual)
        ratios.append(cayley_ratio(generator, states(generator.d, seed, device, torch.float64)))
    drift = norm_drift(effort, seed, device)
    worst["P5 drift of the norm", torch.float64] = drift
    held = {
        f"{name}, {str(dtype).removeprefix('torch.')}": residual <= LIMITS[name][dtype]
        for (name, dtype), residual in worst.items()
    }
    order = CAYLEY_RATIO[0] <= min(ratios) and max(ratios) <= CAYLEY_RATIO[1]
    values: dict[str, Value] = {
        "all_residuals_within_their_limits": all(held.values()),
        "cayley_error_ratio_between_7.5_and_8.5": order,
        "cayley_ratio_least": min(ratios),
        "cayley_ratio_largest": max(ratios),
        "norm_drift": drift,
    }
    return Measurement(
        quantity="largest skew or symmetric residual of a basis or a mixed generator",
        ours=max(worst["P1 skew and symmetric residual", dtype] for dtype in (torch.float32, torch.float64)),
        criterion=in_words(list(values)[:2]) + ": P1 = 0, P2 < 1e-12, P4 < 1e-10, P5 < 1e-9 in float64",
        passed=all(held.values()) and order,
        values=values,
        tables=[_table(worst)],
    )


def generators(effort: Effort, seed: int, device: torch.device) -> Iterator[CartesianGenerator]:
    """Generators of every kind and size: with random weights, and out of a model after 20 optimiser steps."""
    for d in effort.dimensions:
        for field in ("complex", "real"):
            for dissipation, cap in (("free", None), ("nonpositive", None), ("capped", 0.5)):
                yield seeded(
                    seed, _builder(d, field, dissipation, cap)
                ).to(device).eval()  # fmt: skip
        yield trained(d, seed, device)


def _builder(d: int, field: str, dissipation: str, cap: float | None) -> Callable[[], CartesianGenerator]:
    return lambda: CartesianGenerator(d, 3, 3, field=field, dissipation=dissipation, cap=cap, hidden=16)


def trained(d: int, seed: int, device: torch.device, steps: int = 20) -> CartesianGenerator:
    """The generator of a small model of Lorenz-63 after `steps` optimiser steps."""
    sets = make_sets("lorenz63", Sizes(32, 20, 1, 1, 1, 1), derive(seed, 1)[0]).to(device)
    model = seeded(
        seed, lambda: KoopGen(3, d, m_skew=3, m_self=3, hidden=16, dt=sets.dt, normalisation="global")
    ).to(device)
    model.scaler.fit(sets.train)
    train(model, sets.train, Recipe(steps, window=10, batch_size=32), 1e-2, seed, steps)
    return model.generator.eval()


def states(d: int, seed: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "b d"]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(STATES, d, dtype=torch.float64, generator=generator).to(device, dtype)


@torch.no_grad()
def residuals(generator: CartesianGenerator, z: Float[Tensor, "b d"]) -> dict[str, float]:
    """How far each property is from holding at the states `z`."""
    parts = generator.parts(z)
    skew, self_adjoint, total = parts.skew, parts.self_adjoint, parts.total
    tau = 1.0 / float(total.abs().sum(-1).amax())  # a step of usual size
    identity = torch.eye(generator.d, dtype=z.dtype, device=z.device)
    rotation, propagator = matrix_of(expm_step, skew, tau), matrix_of(expm_step, total, tau)
    largest = torch.linalg.eigvalsh(self_adjoint)[..., -1]
    bound = (tau * largest).exp()
    excess = (torch.linalg.matrix_norm(propagator, 2) - bound) / bound
    moved = cayley_step(total, z, tau=tau)
    middle = (z + moved) / 2
    gained = moved.square().sum(-1) - z.square().sum(-1)
    supplied = 2 * tau * torch.einsum("bi,bij,bj->b", middle, self_adjoint, middle)
    exact = expm_step(total, z, tau=tau)
    order = 12 if z.dtype == torch.float32 else 18
    return {
        "P1 skew and symmetric residual": structure_residual(generator, z),
        "P2 orthogonality of exp(G_s)": float((rotation.mT @ rotation - identity).abs().max()),
        "P2 determinant of exp(G_s) - 1": float((torch.linalg.det(rotation) - 1).abs().max()),
        "P3 excess over the log-norm bound": float(excess.clamp(min=0).max()),
        "P4 Cayley energy balance": float(((gained - supplied) / z.square().sum(-1)).abs().max()),
        "P6 expm - taylor": float(_relative(taylor_step(total, z, order, tau=tau), exact)),
        "P7 eigenvalues outside the hull": outside_hull(generator, z),
        "P8 constant gate - fixed matrix": constant_gate(generator, z, tau),
    }


@torch.no_grad()
def structure_residual(generator: CartesianGenerator, z: Float[Tensor, "b d"]) -> float:
    """P1, of the bases and of the mixed parts."""
    parts = generator.parts(z)
    skew = [generator.skew(), parts.skew]
    symmetric = [generator.self_adjoint(), parts.self_adjoint]
    differences = [S + S.mT for S in skew] + [H - H.mT for H in symmetric]
    return max(float(difference.abs().max()) for difference in differences)


def matrix_of(step: Callable[..., Tensor], G: Float[Tensor, "b d d"], tau: float) -> Float[Tensor, "b d d"]:
    """The matrix a propagator stands for, out of its action on the unit vectors."""
    d = G.shape[-1]
    units = torch.eye(d, dtype=G.dtype, device=G.device).expand(len(G), d, d)
    return step(G[:, None].expand(-1, d, d, d), units, tau=tau).mT


def outside_hull(generator: CartesianGenerator, z: Float[Tensor, "b d"]) -> float:
    """P7: rates outside the range of the bases' rates, frequencies above the largest norm of a skew basis; relative."""
    parts = generator.parts(z)
    rates, hull = torch.linalg.eigvalsh(parts.self_adjoint), torch.linalg.eigvalsh(generator.self_adjoint())
    low, high = generator.scale * hull.min(), generator.scale * hull.max()
    frequency = torch.linalg.matrix_norm(parts.skew, 2).max()
    bound = generator.scale * torch.linalg.matrix_norm(generator.skew(), 2).max()
    size = torch.maximum(high - low, bound)
    over = torch.stack([rates.max() - high, low - rates.min(), frequency - bound])
    return float((over / size).clamp(min=0).max())


def constant_gate(generator: CartesianGenerator, z: Float[Tensor, "b d"], tau: float) -> float:
    """P8: with the weights of the gate at zero, three steps are three products with one fixed matrix."""
    gate = generator.gate
    assert isinstance(gate, MixtureGate)
    last = gate.net.last
    kept = last.weight.clone(), last.bias.clone()
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    fixed = generator.scale * (generator.skew().mean(0) + generator.self_adjoint().mean(0))
    matrix = torch.matrix_exp(tau * fixed)
    ours = theirs = z
    for _ in range(3):
        ours, theirs = expm_step(generator(ours), ours, tau=tau), theirs @ matrix.mT
    last.weight.copy_(kept[0])
    last.bias.copy_(kept[1])
    return float(_relative(ours, theirs))


def _relative(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm() / b.norm()


@torch.no_grad()
def cayley_ratio(generator: CartesianGenerator, z: Float[Tensor, "b d"]) -> float:
    """P6: the error of a Cayley step over that of one of half its length."""
    G = generator(z)
    tau = 0.02 / float(G.abs().sum(-1).amax())  # so short that the third order dominates

    def error(step: float) -> float:
        return float((cayley_step(G, z, tau=step) - expm_step(G, z, tau=step)).norm())

    return error(tau) / error(tau / 2)


@torch.no_grad()
def norm_drift(effort: Effort, seed: int, device: torch.device) -> float:
    """P5: the largest relative change of ‖z‖ along a roll-out without self-adjoint part, in float64, over three propagators.

    The steps are shared between the propagators as their cost allows: all of them by the Taylor series at d = 6.
    """
    generator = seeded(
        seed, lambda: CartesianGenerator(6, 4, 0, dissipation="none", hidden=16)
    ).to(device).double().eval()  # fmt: skip
    worst = 0.0
    for name, steps in (("taylor", effort.steps), ("expm", 1000), ("cayley", 1000)):
        step = get_propagator(name, order=18)
        z = states(6, seed, device, torch.float64)
        start = z.norm(dim=-1)
        bound = generator.bind()
        for k in range(steps):
            z = step(bound(z), z, tau=0.1)
            if k % 100 == 99:
                worst = max(worst, float((z.norm(dim=-1) / start - 1).abs().max()))
    return worst if math.isfinite(worst) else math.inf


def _table(worst: dict[tuple[str, torch.dtype], float]) -> Table:
    rows = tuple(
        (name, str(dtype).removeprefix("torch."), residual, LIMITS[name][dtype])
        for (name, dtype), residual in sorted(worst.items(), key=lambda item: item[0][0])
    )
    return Table("residuals", ("property", "precision", "largest residual", "limit"), rows)
