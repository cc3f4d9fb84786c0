"""K6: the split of the generator is meaningful — rotation where energy is kept, decay where there is friction (§3.10, §8)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.claims import Measurement, Scale, Value, claim

from ..analysis import in_float64, read_out
from ..baselines import UnstructuredGenerator
from ..losses import KoopGenLoss
from ..model import GeneratorModel, KoopGen
from ..objective import window_loss
from ..optim import Rates, make_adamw, make_schedule
from ..oscillations import envelope_rate
from ..parsimony import parsimony_penalty
from ..systems import Lorenz63, get_system
from .pictures import lorenz_figures, pendulum_figures, phase_space
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

DAMPED_DT = 0.2
"""Sampling interval of the damped pendulum."""

THRESHOLD = 0.1
"""ε of the valid prediction time, in units of the scalar σ."""


@dataclass(frozen=True)
class Effort:
    """Trajectories and training of the two pendulums and of Lorenz-63; `hidden` is the width of all networks."""

    pendulum: Sizes
    damped: Sizes
    lorenz: Sizes
    recipe: Recipe
    lorenz_recipe: Recipe
    hidden: int
    lorenz_hidden: int


EFFORTS = {
    Scale.SMOKE: Effort(
        Sizes(64, 40, 16, 40, 32, 100), Sizes(64, 40, 16, 40, 32, 40), Sizes(32, 40, 8, 20, 64, 20),
        Recipe(30, window=10, batch_size=32, pretrain_steps=30, rates=(1e-2,)),
        Recipe(10, window=10, batch_size=32, pretrain_steps=30, rates=(1e-2,)), 16, 16,
    ),
    Scale.CPU: Effort(
        Sizes(512, 360, 64, 120, 256, 360), Sizes(512, 90, 64, 60, 256, 90), Sizes(256, 200, 64, 60, 256, 100),
        Recipe(500, window=20, batch_size=64), Recipe(400, window=20, batch_size=64), 64, 64,
    ),
    Scale.GPU: Effort(
        Sizes(4000, 360, 256, 300, 512, 360), Sizes(4000, 90, 256, 90, 512, 90), Sizes(4000, 400, 256, 300, 512, 300),
        Recipe(2000, window=30, batch_size=256, search_share=0.1),
        Recipe(2000, window=30, batch_size=256, search_share=0.1), 64, 128,
    ),
    Scale.PAPER: Effort(
        Sizes(14_000, 360, 512, 300, 4000, 360), Sizes(14_000, 90, 512, 90, 4000, 90), Sizes(14_000, 1000, 512, 1000, 4000, 1000),
        Recipe(20_000, search_share=0.05), Recipe(50_000, search_share=0.05), 64, 128,
    ),
}  # fmt: skip


@claim(
    "K6",
    "The split is meaningful: rotation where energy is kept, decay where there is friction",
    source="section 4, learned skew and self-adjoint fields; damped pendulum and criteria: ours",
    known_gaps={
        "cpu": "the rate of the damped pendulum is off the envelope's by 9, 24 and 5 % (seeds 0, 1, 2) where 20 % are allowed; all other "
        "conditions hold with every seed"
    },
)
def split_is_meaningful(scale: Scale, seed: int) -> Measurement:
    """Pendulum, 2 + 2 bases with the parsimony regulariser: dissipative share averaged over the phase space < 5 %. Damped
    pendulum, γ = 0.1: mean ρ_d along trajectories negative and within 20 % of the fitted rate of the envelope. Lorenz-63: maps
    of ρ_d and of the local frequency are saved; "lobes show rotation" is measured as: the mean angular velocity of the
    learned transport field about the middle of each lobe has the sign of the true flow's. An ablation (skew only, self-adjoint only,
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
    lobes = lobe_rotation(lorenz_model, lorenz_sets.test)
    checks = [inconsistency(model, phase_space(11).to(device)) for model in (parsimonious, damped_model)]
    checks.append(inconsistency(lorenz_model, lorenz_sets.test[:, 0]))
    conditions = conditions_of(share, damped, lobes)
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
        **{f"turning_of_the_transport_{lobe}_lobe": ours for lobe, (ours, _) in lobes.items()},
        **{f"turning_of_the_flow_{lobe}_lobe": true for lobe, (_, true) in lobes.items()},
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


def conditions_of(share: float, damped: Damped, lobes: Mapping[str, tuple[float, float]]) -> dict[str, bool]:
    """The criterion, condition by condition; a number that is not finite fulfils none."""
    return {
        "dissipative_share_of_the_pendulum_below_5_percent": share < SHARE_LIMIT,
        "damped_pendulum_rate_negative": damped.energy_rate < 0,
        "damped_pendulum_rate_within_20_percent_of_the_envelope": damped.relative_error <= RATE_TOLERANCE,
        "transport_turns_with_the_flow_on_both_lobes_of_lorenz": all(
            ours * true > 0 for ours, true in lobes.values()
        ),
    }


# The pendulum and its ablation ----------------------------------------------------------------------------------------

BOTH = "KoopGen, both parts"


@dataclass(frozen=True)
class Ablation:
    """What the parts are worth for the pendulum without friction."""

    sets: Sets
    recipe: Recipe
    outcomes: Mapping[str, Outcome]
    judged: Mapping[str, Judged]


def options_of(sets: Sets, hidden: int, recipe: Recipe) -> dict[str, Any]:
    """What all models of a system share. The noise of the gate has gone after a tenth of the steps (as in K2)."""
    return {"dt": sets.dt, "hidden": hidden, "noise_steps": max(1, recipe.steps * (recipe.window - 1) // 10)}


def pendulum_options(sets: Sets, hidden: int, recipe: Recipe) -> dict[str, Any]:
    """The unit of the rates is the pendulum's own, as in K2."""
    return options_of(sets, hidden, recipe) | {"time_scale": 1.0}


def ablation_contenders(sets: Sets, hidden: int, recipe: Recipe) -> list[Contender]:
    """Skew only, self-adjoint only, both, unstructured; the same encoder, decoder, gate and latent size d = 2."""
    options = pendulum_options(sets, hidden, recipe)
    return [
        Contender(
            "KoopGen, skew only", lambda: KoopGen(2, 2, m_skew=2, m_self=0, dissipation="none", **options)
        ),
        Contender("KoopGen, self-adjoint only", lambda: KoopGen(2, 2, m_skew=0, m_self=2, **options)),
        Contender(BOTH, lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options)),
        Contender("Unstructured", lambda: UnstructuredGenerator(2, 2, m=4, **options)),
    ]


def pendulum_ablation(effort: Effort, seed: int, device: torch.device) -> Ablation:
    sets = make_sets("pendulum", effort.pendulum, derive(seed, 1)[0]).to(device)
    score = error_score(sets.validation.shape[1] - 1)
    outcomes = {
        contender.name: contest(contender, sets, effort.recipe, derive(seed, 1)[0], score)
        for contender in ablation_contenders(sets, effort.hidden, effort.recipe)
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
    options = pendulum_options(sets, effort.hidden, effort.recipe)
    model = seeded(derive(seed, 1)[0], lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options)).to(device)
    assert isinstance(model, KoopGen)
    pretrain(model, sets.train, recipe, derive(seed, 1)[0])
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive(seed, 1)[0])
        _train_penalised(model, sets.train, recipe, ablation.outcomes[BOTH].rate, derive(seed, 1)[0])
    return model


def _train_penalised(
    model: KoopGen, x: Float[Tensor, "n t c"], recipe: Recipe, rate: float, seed: int
) -> None:
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


def phase_space_share(model: GeneratorModel) -> float:
    """Dissipative share, mean over the phase space."""
    points = phase_space().to(model.scaler.mean)
    return float(read_out(model, points).dissipative_share.mean())


# The damped pendulum ------------------------------------------------------------------------------------------------


def damped_pendulum(effort: Effort, seed: int, device: torch.device) -> tuple[KoopGen, Damped]:
    """2 + 2 bases, no regulariser; the mean of ρ_d over the true states of the test trajectories against their envelope."""
    sets = damped_sets(effort.damped, derive(seed, 2)[1]).to(device)
    options = pendulum_options(sets, effort.hidden, effort.recipe)
    contender = Contender(BOTH, lambda: KoopGen(2, 2, m_skew=2, m_self=2, **options))
    score = error_score(sets.validation.shape[1] - 1)
    model = contest(contender, sets, effort.recipe, derive(seed, 2)[1], score).model
    assert isinstance(model, KoopGen)
    rate = float(read_out(model, sets.test).energy_rate.mean())
    return model, Damped(rate, float(envelope_rate(sets.test.cpu().double(), sets.dt).mean()))


def damped_sets(sizes: Sizes, seed: int) -> Sets:
    """As `make_sets`, sampled every 0.2: a window then spans several times the decay that one of the pendulum's 0.05 would,
    at the same cost. The set-up of this test is ours (§8)."""
    system = get_system("damped_pendulum", dt=DAMPED_DT)
    counts = (sizes.train, sizes.validation, sizes.test)
    steps = (sizes.train_steps, sizes.validation_steps, sizes.test_steps)
    train, validation, test = map(system.generate, counts, steps, derive(seed, 3))
    return Sets(train.x, validation.x, test.x, system.dt, 0.0, train.sigma)


# Lorenz-63 ----------------------------------------------------------------------------------------------------------


def lorenz(effort: Effort, seed: int, device: torch.device) -> tuple[KoopGen, Sets]:
    """5 + 5 bases, free sign."""
    sets = make_sets("lorenz63", effort.lorenz, derive(seed, 3)[2]).to(device)
    mean = sets.train.mean((0, 1)).tolist()
    contender = Contender(
        "KoopGen",
        lambda: KoopGen(
            3, 6, m_skew=5, m_self=5, normalisation="explicit", mean=mean, std=sets.sigma,
            **options_of(sets, effort.lorenz_hidden, effort.lorenz_recipe),
        ),
    )  # fmt: skip
    score = error_score(sets.validation.shape[1] - 1)
    model = contest(contender, sets, effort.lorenz_recipe, derive(seed, 3)[2], score).model
    assert isinstance(model, KoopGen)
    return model, sets


def lobe_rotation(model: GeneratorModel, x: Float[Tensor, "n t 3"]) -> dict[str, tuple[float, float]]:
    """Angular velocity about the middle of each lobe in the plane (x, z), mean over the lobe's states (rad per unit of time).

    Returns:
        lobe -> (that of the learned transport field, that of the true flow).
    """
    model.eval()
    states = x.flatten(0, 1)
    flow = torch.from_numpy(Lorenz63().rhs(states.double().cpu().numpy())).to(states)
    transport = model.fields(states).transport.detach()
    found = {}
    for lobe, sign in (("left", -1), ("right", 1)):
        on_it = states[:, 0] * sign > 0
        # the unstable fixed point that the lobe winds about
        centre = states.new_tensor([sign * math.sqrt(72), 0.0, 27.0])
        arm = states[on_it] - centre
        found[lobe] = turning(arm, transport[on_it]), turning(arm, flow[on_it])
    return found


def turning(arm: Float[Tensor, "n 3"], velocity: Float[Tensor, "n 3"]) -> float:
    """Angular velocity in the plane (x, z) of points at `arm` from their centre, weighted by the squared length of the arm."""
    cross = arm[:, 0] * velocity[:, 2] - arm[:, 2] * velocity[:, 0]
    return float(cross.sum() / arm[:, [0, 2]].square().sum())


def inconsistency(model: GeneratorModel, x: Float[Tensor, "n 2"]) -> float:
    """How far read-outs are from the motion they describe, relative, in double precision; infinite if one is not finite.

    G_s z + G_d z pushed forward is the derivative of the state, and ρ_d is zᵀ ż / ‖z‖²: the skew part changes no norm.
    """
    precise = in_float64(model)
    assert isinstance(precise, GeneratorModel)
    x = x.double()
    with torch.no_grad():
        z = precise.encode(x)
        motion = precise.velocity(z)
        rate = (z * motion).sum(-1) / z.square().sum(-1)
        found = read_out(precise, x)
        fields, derivative = precise.fields(x), precise.derivative(x)
        size = motion.norm(dim=-1).amax() / z.norm(dim=-1).amin()
        gaps = [
            (found.energy_rate - rate).abs().max() / size,
            (fields.transport + fields.dissipation - derivative).abs().max() / derivative.abs().max(),
        ]
    worst = float(torch.stack(gaps).max())
    return worst if math.isfinite(worst) else math.inf
