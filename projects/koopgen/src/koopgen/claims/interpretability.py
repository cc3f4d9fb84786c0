"""K6: the split of the generator is meaningful — rotation where energy is kept, decay where there is friction (§3.10, §8)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..analysis import Readouts, read_out
from ..baselines import UnstructuredGenerator
from ..losses import KoopGenLoss
from ..maps import ColourMap, PlaneField, attractor_maps, vector_fields
from ..model import GeneratorModel, KoopGen
from ..objective import window_loss
from ..optim import Rates, make_adamw, make_schedule
from ..oscillations import envelope_rate
from ..parsimony import parsimony_penalty
from .samples import Sizes, make_sets
from .scores import Judged, comparison_table, error_score, judge
from .training import (
    Batches,
    Contender,
    Outcome,
    Recipe,
    Sets,
    contest,
    derive,
    device_for,
    in_words,
    pretrain,
    seeded,
)

PARSIMONY = 1.0
"""Weight of the penalty; fixed before the first run: in one interval a self-adjoint change costs as much as a relative error."""

SHARE_LIMIT = 0.05
"""Largest dissipative share of the pendulum, averaged over the phase space (§8)."""

RATE_TOLERANCE = 0.2
"""How far ρ_d of the damped pendulum may be from the rate of the envelope, relative (§8)."""

THRESHOLD = 0.1
"""ε of the valid prediction time, in units of the scalar σ."""


@dataclass(frozen=True)
class Effort:
    """Trajectories and training of the two pendulums and of Lorenz-63; `hidden` is the width of all networks."""

    pendulum: Sizes
    lorenz: Sizes
    recipe: Recipe
    lorenz_recipe: Recipe
    hidden: int
    lorenz_hidden: int


EFFORTS = {
    Scale.SMOKE: Effort(
        Sizes(64, 40, 16, 40, 32, 100), Sizes(32, 40, 8, 20, 64, 20),
        Recipe(30, window=10, batch_size=32, pretrain_steps=30, rates=(1e-2,)),
        Recipe(10, window=10, batch_size=32, pretrain_steps=30, rates=(1e-2,)), 16, 16,
    ),
    Scale.CPU: Effort(
        Sizes(512, 360, 64, 120, 256, 360), Sizes(256, 200, 64, 60, 256, 100),
        Recipe(500, window=20, batch_size=64), Recipe(400, window=20, batch_size=64), 64, 64,
    ),
    Scale.GPU: Effort(
        Sizes(4000, 360, 256, 300, 512, 360), Sizes(4000, 400, 256, 300, 512, 300),
        Recipe(4000, window=30, batch_size=256), Recipe(4000, window=30, batch_size=256), 64, 128,
    ),
    Scale.PAPER: Effort(
        Sizes(14_000, 360, 512, 300, 4000, 360), Sizes(14_000, 1000, 512, 1000, 4000, 1000),
        Recipe(20_000, window=30, batch_size=128), Recipe(50_000, window=30, batch_size=128), 64, 128,
    ),
}  # fmt: skip


@claim(
    "K6",
    "The split is meaningful: rotation where energy is kept, decay where there is friction",
    source="section 4, learned skew and self-adjoint fields; damped pendulum and criteria: ours",
)
def split_is_meaningful(scale: Scale, seed: int) -> Measurement:
    """Pendulum, 2 + 2 bases with the parsimony regulariser: dissipative share averaged over the phase space < 5 %. Damped
    pendulum, γ = 0.1: mean ρ_d along trajectories negative and within 20 % of the fitted rate of the envelope. Lorenz-63: maps
    of ρ_d and of the local frequency, local frequencies above zero on the lobes. An ablation (skew only, self-adjoint only,
    both, unstructured) is reported, not judged. smoke: the same paths, too short to judge: read-outs finite, G_s + G_d
    the generator's motion, ρ_d the rate of ‖z‖."""
    effort, device = EFFORTS[scale], device_for(scale)
    return measure(effort, seed, device, judged=scale != Scale.SMOKE)


@dataclass(frozen=True)
class Damped:
    """The damped pendulum: rate in the generator against the rate of the data."""

    energy_rate: float
    envelope: float

    @property
    def relative_error(self) -> float:
        return abs(self.energy_rate - self.envelope) / abs(self.envelope)


def measure(effort: Effort, seed: int, device: torch.device, judged: bool) -> Measurement:
    ablation = pendulum_ablation(effort, seed, device)
    parsimonious = train_parsimonious(ablation, effort, seed, device)
    share = phase_space_share(parsimonious)
    damped_model, damped = damped_pendulum(effort, seed, device)
    lorenz_model, lorenz_sets = lorenz(effort, seed, device)
    lobes = lobe_frequencies(lorenz_model, lorenz_sets.test)
    checks = [identities(model) for model in (parsimonious, damped_model, lorenz_model)]
    conditions = {
        "dissipative_share_of_the_pendulum_below_5_percent": share < SHARE_LIMIT,
        "damped_pendulum_rate_negative": damped.energy_rate < 0,
        "damped_pendulum_rate_within_20_percent_of_the_envelope": damped.relative_error <= RATE_TOLERANCE,
        "lorenz_local_frequency_above_zero_on_both_lobes": min(lobes.values()) > 0,
    }
    if not judged:
        conditions = {"read_outs_finite_and_consistent_to_1e-9": max(checks) <= 1e-9}
    plain = ablation.outcomes[BOTH].model
    assert isinstance(plain, GeneratorModel)
    values: dict[str, Value] = {
        **conditions,
        "share_without_the_regulariser": phase_space_share(plain),
        "vpt_with_the_regulariser": judge(parsimonious, ablation.sets, THRESHOLD).valid.mean,
        "vpt_without_the_regulariser": ablation.judged[BOTH].valid.mean,
        "energy_rate_of_the_damped_pendulum": damped.energy_rate,
        "envelope_rate_of_the_damped_pendulum": damped.envelope,
        **{f"lorenz_frequency_{lobe}": value for lobe, value in lobes.items()},
        "largest_inconsistency_of_read_outs": max(checks),
    }
    return Measurement(
        quantity="dissipative share of the pendulum, mean over the phase space",
        ours=share,
        baseline=values["share_without_the_regulariser"],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        figures=[
            *pendulum_figures(parsimonious, damped_model),
            *lorenz_figures(lorenz_model, lorenz_sets.test),
        ],
        tables=[comparison_table("ablation", ablation.outcomes, ablation.judged, times_of(ablation.sets))],
    )


# The pendulum and its ablation ----------------------------------------------------------------------------------------

BOTH = "KoopGen, both parts"


@dataclass(frozen=True)
class Ablation:
    """What the parts are worth for the pendulum without friction."""

    sets: Sets
    recipe: Recipe
    outcomes: Mapping[str, Outcome]
    judged: Mapping[str, Judged]


def pendulum_options(sets: Sets, hidden: int) -> dict[str, object]:
    return {"dt": sets.dt, "hidden": hidden, "normalisation": "none"}


def ablation_contenders(sets: Sets, hidden: int) -> list[Contender]:
    """Skew only, self-adjoint only, both, unstructured; the same encoder, decoder, gate and latent size d = 2."""
    options = pendulum_options(sets, hidden)
    return [
        Contender("KoopGen, skew only", lambda: KoopGen(2, 2, m_skew=2, m_self=0, dissipation="none", **options)),
        Contender("KoopGen, self-adjoint only", lambda: KoopGen(2, 2, m_skew=0, m_self=2, **options)),
        Contender(BOTH, lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options)),
        Contender("Unstructured", lambda: UnstructuredGenerator(2, 2, m=4, **options)),
    ]


def pendulum_ablation(effort: Effort, seed: int, device: torch.device) -> Ablation:
    sets = make_sets("pendulum", effort.pendulum, derive(seed, 1)[0]).to(device)
    score = error_score(sets.validation.shape[1] - 1)
    outcomes = {
        contender.name: contest(contender, sets, effort.recipe, derive(seed, 1)[0], score)
        for contender in ablation_contenders(sets, effort.hidden)
    }
    judged = {name: judge(outcome.model, sets, THRESHOLD) for name, outcome in outcomes.items()}
    return Ablation(sets, effort.recipe, outcomes, judged)


def times_of(sets: Sets) -> tuple[float, ...]:
    """A third, two thirds and the whole of the horizon, to the sample."""
    last = sets.test.shape[1] - 1
    return tuple(sets.dt * round(last * share) for share in (1 / 3, 2 / 3, 1))


def train_parsimonious(ablation: Ablation, effort: Effort, seed: int, device: torch.device) -> KoopGen:
    """2 + 2 bases as in the ablation, at the rate that was chosen there, with the penalty in the loss."""
    sets, recipe = ablation.sets, ablation.recipe
    options = pendulum_options(sets, effort.hidden)
    model = seeded(derive(seed, 1)[0], lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options)).to(device)  # type: ignore[arg-type]
    assert isinstance(model, KoopGen)
    pretrain(model, sets.train, recipe, derive(seed, 1)[0])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, 1)[0])
        _train_penalised(model, sets.train, recipe, ablation.outcomes[BOTH].rate, derive(seed, 1)[0])
    return model


def _train_penalised(model: KoopGen, x: Float[Tensor, "n t c"], recipe: Recipe, rate: float, seed: int) -> None:
    criterion = KoopGenLoss(order=recipe.order)
    batches = Batches(x, recipe.window, recipe.batch_size, seed)
    optimizer = make_adamw(model, Rates(rate, decay=recipe.decay))
    schedule = make_schedule(optimizer, recipe.steps)
    model.train()
    for step in range(recipe.steps):
        windows = batches()
        loss = window_loss(criterion, model, windows).total + PARSIMONY * parsimony_penalty(model, windows)
        if not torch.isfinite(loss):
            raise ArithmeticError(f"the penalised loss is not finite at step {step}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        schedule.step()


def phase_space(n: int = 41, energy_cap: float = 0.99) -> Float[Tensor, "k 2"]:
    """A grid over the pendulum's plane, its states below the energy cap of the data, rest left out."""
    grid = torch.cartesian_prod(torch.linspace(-3.1, 3.1, n), torch.linspace(-2.0, 2.0, n))
    energy = 0.5 * grid[:, 1] ** 2 - grid[:, 0].cos()
    return grid[(energy <= energy_cap) & (grid.norm(dim=1) > 1e-6)]


def phase_space_share(model: GeneratorModel) -> float:
    """Dissipative share, mean over the phase space."""
    points = phase_space().to(model.scaler.mean)
    return float(read_out(model, points).dissipative_share.mean())


# The damped pendulum ------------------------------------------------------------------------------------------------


def damped_pendulum(effort: Effort, seed: int, device: torch.device) -> tuple[KoopGen, Damped]:
    """2 + 2 bases, no regulariser; the mean of ρ_d over the true states of the test trajectories against their envelope."""
    sets = make_sets("damped_pendulum", effort.pendulum, derive(seed, 2)[1]).to(device)
    options = pendulum_options(sets, effort.hidden)
    contender = Contender(BOTH, lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options))  # type: ignore[arg-type]
    score = error_score(sets.validation.shape[1] - 1)
    model = contest(contender, sets, effort.recipe, derive(seed, 2)[1], score).model
    assert isinstance(model, KoopGen)
    rate = float(read_out(model, sets.test).energy_rate.mean())
    return model, Damped(rate, float(envelope_rate(sets.test.cpu().double(), sets.dt).mean()))


# Lorenz-63 ----------------------------------------------------------------------------------------------------------


def lorenz(effort: Effort, seed: int, device: torch.device) -> tuple[KoopGen, Sets]:
    """5 + 5 bases, free sign."""
    sets = make_sets("lorenz63", effort.lorenz, derive(seed, 3)[2]).to(device)
    mean, sigma = sets.train.mean((0, 1)).tolist(), sets.sigma
    contender = Contender(
        "KoopGen",
        lambda: KoopGen(
            3, 6, dt=sets.dt, m_skew=5, m_self=5, hidden=effort.lorenz_hidden,
            normalisation="explicit", mean=mean, std=sigma,
        ),
    )  # fmt: skip
    score = error_score(sets.validation.shape[1] - 1)
    model = contest(contender, sets, effort.lorenz_recipe, derive(seed, 3)[2], score).model
    assert isinstance(model, KoopGen)
    return model, sets


def lobe_frequencies(model: GeneratorModel, x: Float[Tensor, "n t 3"]) -> dict[str, float]:
    """Mean of the rotation rate zᵀ... largest local frequency over the states of each lobe (x below or above zero)."""
    states = x.flatten(0, 1)
    fastest = read_out(model, states).frequencies[:, -1]
    return {
        "left_lobe": float(fastest[states[:, 0] < 0].mean()),
        "right_lobe": float(fastest[states[:, 0] > 0].mean()),
    }
