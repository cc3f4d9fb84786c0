"""K2: a generator that depends on the state beats a constant spectrum on a continuous one — the pendulum (§7.3, §8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Value, claim

from ..baselines import LRAN, ConstantGenerator, DeepKoopman, NeuralODE
from ..figures import Curve, Forecasts, forecasts_with_error_growth, frequency_law
from ..latent import LatentModel
from ..model import KoopGen
from ..oscillations import swing_frequency
from ..systems.pendulum import energy, frequency
from .samples import Sizes, make_sets
from .scores import Judged, comparison_table, judge, valid_time_score
from .training import Contender, Outcome, Recipe, Sets, contest, derive, device_for, in_words

SIGMA, THRESHOLD = 1.17, 0.1
"""The scalar σ of §5, and ε: forecasts are valid while their error, rms over θ and θ̇, is below 0.117."""

LIBRATION = 0.8
"""The frequency law is read off trajectories with an energy below this; the separatrix is at 1."""


@dataclass(frozen=True)
class Effort:
    """Sizes of the data, how models are trained, and the width of their networks."""

    sizes: Sizes
    recipe: Recipe
    hidden: int = 64


EFFORTS = {
    Scale.SMOKE: Effort(Sizes(256, 100, 32, 99, 64, 99), Recipe(600, rates=(1e-2,))),
    Scale.CPU: Effort(Sizes(4000, 299, 200, 299, 1000, 299), Recipe(1500)),
    Scale.GPU: Effort(
        Sizes(14_000, 360, 1000, 199, 4000, 299), Recipe(8000, batch_size=512, search_share=0.05)
    ),
    Scale.PAPER: Effort(
        Sizes(14_000, 360, 2000, 199, 4000, 299), Recipe(22_000, rates=(1e-3, 3e-3, 1e-2, 1e-1))
    ),
}


@claim(
    "K2",
    "State-dependent generators beat constant-spectrum models on a continuous spectrum",
    source="abstract; sections on the pendulum",
    published="not KoopGen's own; its sibling CocycleNet: VPT 9.97 of 10, RMSE(t = 9.95) 0.023; LRAN 4.45 and 1.26",
    known_gaps={
        "cpu": "VPT 13.1 of 15 with seeds 0 and 1, and 2.8 with seed 2: both bases settle on one frequency, the gate then makes no "
        "difference, and KoopGen ends as the constant generator (DeepKoopman does not train with that seed: its first roll-out "
        "is not finite). The skew-only model ends so with seed 0, too. A neural ODE is better than all (14.0 to 14.3)"
    },
)
def continuous_spectrum(scale: Scale, seed: int) -> Measurement:
    """The pendulum, d = 2; VPT at 0.1 σ, σ = 1.17, in units of time. Every model has the same warm-up, steps and search of
    rates; a model whose relative loss stays at 1 is a failed run and decides nothing for the other side.

    smoke (256 trajectories, 2 + 2 bases): training loss <= 0.3, VPT mean >= 2 of 5, LRAN's VPT is lower. 600 steps, not
    the 200 first planned: after the warm-up, which the plan's trial run did not have, 200 steps leave the result to the
    sense of rotation that bases and encoder start with (VPT 1.1 to 3.8 over four seeds); the thresholds are as planned.
    cpu (4,000 trajectories, 1,500 steps, horizon 15): KoopGen VPT median = cap, mean >= 10.5, RMSE(t = 10) <= 0.6; LRAN and
    ConstantGenerator RMSE(t = 10) >= 2x and VPT <= 1/2 of KoopGen's; DeepKoopman's VPT is not higher and its RMSE(t = 10)
    not lower; skew-only model: frequency law (E < 0.8) median error <= 2 %, correlation >= 0.99, energy error at t = 15
    <= 2x that at t = 1.5. A NeuralODE, which has no latent space, stands beside them without a condition.
    gpu (14,000 trajectories; 8,000 steps of 512 windows instead of the 20,000 of 128 first planned: more windows in fewer
    steps, because a step of either size costs a GPU about the same), paper (200 epochs): mean VPT over 200 samples >= 9.8
    of 10, RMSE(t = 10) <= 0.05, and the comparisons of the cpu scale.
    """
    effort, device = EFFORTS[scale], device_for(scale)
    sets = make_sets("pendulum", effort.sizes, seed, SIGMA).to(device)
    if scale == Scale.SMOKE:
        return smoke(effort, sets, seed)
    return comparison(effort, sets, seed, full=scale in (Scale.GPU, Scale.PAPER))


def contenders(sets: Sets, effort: Effort) -> dict[str, Contender]:
    """KoopGen with 2 + 2 bases and with rotation only, and its rivals; encoder and decoder are the same."""
    size: dict[str, Any] = {"dt": sets.dt, "hidden": effort.hidden, "layers": 3}
    recipe = effort.recipe
    # The noise of the gate has gone after a tenth of the steps, and the unit of the rates is the pendulum's own.
    gated: dict[str, Any] = size | {
        "time_scale": 1.0,
        "noise_steps": max(1, recipe.steps * (recipe.window - 1) // 10),
    }
    builders: dict[str, Callable[[], LatentModel]] = {
        "KoopGen": lambda: KoopGen(2, 2, m_skew=2, m_self=2, **gated),
        "KoopGen, skew only": lambda: KoopGen(2, 2, m_skew=2, m_self=0, dissipation="none", **gated),
        "DeepKoopman": lambda: DeepKoopman(2, 2, radius=True, width=64, time_scale=1.0, **size),
        "LRAN": lambda: LRAN(2, 2, **size),
        "ConstantGenerator": lambda: ConstantGenerator(2, 2, m_skew=2, m_self=2, time_scale=1.0, **size),
        "NeuralODE": lambda: NeuralODE(2, time_scale=1.0, **size),
    }
    return {name: Contender(name, build) for name, build in builders.items()}


def smoke(effort: Effort, sets: Sets, seed: int) -> Measurement:
    known = contenders(sets, effort)
    run, score = derive(seed, 1)[0], valid_time_score(sets, THRESHOLD)
    outcomes = {name: contest(known[name], sets, effort.recipe, run, score) for name in ("KoopGen", "LRAN")}
    judged = {name: judge(outcome.model, sets, THRESHOLD) for name, outcome in outcomes.items()}
    ours, lran = judged["KoopGen"].valid.mean, judged["LRAN"].valid.mean
    loss = outcomes["KoopGen"].training.prediction
    conditions = {
        "training_loss_at_most_0.3": loss <= 0.3,
        "VPT_at_least_2": ours >= 2,
        "LRAN_VPT_lower": lran < ours,
    }
    return Measurement(
        quantity=f"valid prediction time at 0.1 σ (time units of {judged['KoopGen'].valid.cap:g})",
        ours=ours,
        baseline=lran,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, "training_loss": loss},
        tables=[comparison_table("pendulum", outcomes, judged, (0.0, 4.0))],
    )


def comparison(effort: Effort, sets: Sets, seed: int, full: bool) -> Measurement:
    """All contenders; `full` has the conditions of the gpu scale instead of those for 1,500 steps."""
    run, score = derive(seed, 1)[0], valid_time_score(sets, THRESHOLD)
    known, outcomes = contenders(sets, effort), dict[str, Outcome]()
    for name, contender in known.items():
        recipe = effort.recipe
        if name == "KoopGen, skew only":  # the ablation takes the rate KoopGen chose
            recipe = replace(recipe, rates=(outcomes["KoopGen"].rate,))
        outcomes[name] = contest(contender, sets, recipe, run, score)
    judged = {name: judge(outcome.model, sets, THRESHOLD) for name, outcome in outcomes.items()}
    laws = {name: measure_law(judged[name], sets) for name in ("KoopGen", "KoopGen, skew only")}
    conditions = verdict(outcomes, judged, laws["KoopGen, skew only"], full)
    values: dict[str, Value] = dict(conditions)
    for name, law in laws.items():
        values |= {f"{name}/{key}": number for key, number in law.numbers.items()}
    for name, found in judged.items():
        values |= {f"{name}/VPT": found.valid.mean, f"{name}/RMSE(10)": found.error_at(10.0)}
    times = tuple(t for t in (0.0, 5.0, 10.0, 14.95) if round(t / sets.dt) < sets.test.shape[1])
    return Measurement(
        quantity=f"valid prediction time at 0.1 σ, mean (time units of {judged['KoopGen'].valid.cap:g}); baseline LRAN",
        ours=judged["KoopGen"].valid.mean,
        baseline=judged["LRAN"].valid.mean,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[comparison_table("pendulum", outcomes, judged, times)],
        figures=figures(sets, judged, laws),
    )


def verdict(
    outcomes: Mapping[str, Outcome], judged: Mapping[str, Judged], law: "FrequencyLaw", full: bool
) -> dict[str, bool]:
    """The conditions of the cpu or of the gpu scale."""
    ours = judged["KoopGen"]
    error, vpt = ours.error_at(10.0), ours.valid.mean
    constant = [judged[name] for name in ("LRAN", "ConstantGenerator")]
    deep = judged["DeepKoopman"]
    if full:
        within = float(ours.valid.times.clamp(max=10.0).mean())
        own = {"VPT_at_least_9.8_of_10": within >= 9.8, "RMSE_at_10_at_most_0.05": error <= 0.05}
    else:
        own = {
            "VPT_median_is_the_cap": ours.valid.median >= ours.valid.cap * (1 - 1e-9),
            "VPT_mean_at_least_10.5": vpt >= 10.5,
            "RMSE_at_10_at_most_0.6": error <= 0.6,
        }
    return {
        "no_model_failed": not any(outcome.failed for outcome in outcomes.values()),
        **own,
        "constant_spectra_RMSE_at_10_at_least_twice_ours": all(
            m.error_at(10.0) >= 2 * error for m in constant
        ),
        "constant_spectra_VPT_at_most_half_of_ours": all(m.valid.mean <= vpt / 2 for m in constant),
        "VPT_not_below_DeepKoopman": vpt >= deep.valid.mean,
        "RMSE_at_10_below_DeepKoopman": error < deep.error_at(10.0),
        "frequency_law_median_error_at_most_2_%": law.median_error <= 0.02,
        "frequency_law_correlation_at_least_0.99": law.correlation >= 0.99,
        "energy_error_at_the_end_at_most_twice_that_at_1.5": law.late_energy_error
        <= 2 * law.early_energy_error,
    }


@dataclass(frozen=True)
class FrequencyLaw:
    """Frequencies of forecasts against the elliptic integral (P10), and how well they keep their energy.

    Args:
        energies, frequencies: of the forecasts of trajectories with E < 0.8 whose frequency can be read.
        median_error: of the frequency, relative.
        correlation: between measured and exact frequencies.
        early_energy_error, late_energy_error: rms error of the energy at t = 1.5 and at the end.
    """

    energies: Float[Tensor, "n"]
    frequencies: Float[Tensor, "n"]
    median_error: float
    correlation: float
    early_energy_error: float
    late_energy_error: float

    @property
    def numbers(self) -> dict[str, Value]:
        return {
            "frequency_median_error": self.median_error,
            "frequency_correlation": self.correlation,
            "energy_error_at_1.5": self.early_energy_error,
            "energy_error_at_the_end": self.late_energy_error,
        }


def measure_law(judged: Judged, sets: Sets) -> FrequencyLaw:
    """A frequency that cannot be read (no swing, or not finite) counts as an infinite error."""
    truth, forecasts = sets.test.double().cpu(), judged.forecasts.double().cpu()
    level = energy_of(truth[:, 0])
    errors = (energy_of(forecasts) - level[:, None]).square().mean(0).sqrt()
    slow = level < LIBRATION
    level, found = level[slow], swing_frequency(forecasts[slow, :, 0], sets.dt)
    exact = torch.from_numpy(frequency(level.numpy()))
    relative = ((found - exact) / exact).abs()
    readable = relative.isfinite()
    pair = torch.stack([found[readable], exact[readable]])
    enough = int(readable.sum()) > 2
    return FrequencyLaw(
        level[readable],
        found[readable],
        float(torch.where(readable, relative, torch.inf).median()),
        float(torch.corrcoef(pair)[0, 1]) if enough else float("nan"),
        float(errors[round(1.5 / sets.dt)]),
        float(errors[-1]),
    )


def energy_of(x: Float[Tensor, "... 2"]) -> Float[Tensor, "..."]:
    """½ θ̇² − cos θ."""
    return torch.from_numpy(energy(x.cpu().double().numpy()))


def figures(sets: Sets, judged: Mapping[str, Judged], laws: Mapping[str, FrequencyLaw]) -> list[Figure]:
    swinging = int(
        (energy_of(sets.test[:, 0]) - LIBRATION).abs().argmin()
    )  # a large, visibly anharmonic swing
    times = sets.dt * torch.arange(sets.test.shape[1])
    shown = {name: found for name, found in judged.items() if name != "KoopGen, skew only"}
    example = Forecasts(
        times,
        sets.test[swinging, :, 0].cpu(),
        {name: found.forecasts[swinging, :, 0].cpu() for name, found in shown.items()},
        "angle θ (rad)",
    )
    errors = {name: found.curve for name, found in shown.items()}
    at_ten = "; ".join(f"{name} {found.error_at(10.0):.2g}" for name, found in shown.items())
    levels = torch.linspace(-0.999, LIBRATION, 200, dtype=torch.float64)
    exact: Curve = (levels.tolist(), frequency(levels.numpy()).tolist())
    measured = {name: (law.energies.tolist(), law.frequencies.tolist()) for name, law in laws.items()}
    return [
        forecasts_with_error_growth(
            "pendulum-forecasts", example, errors, "The pendulum, forecast from its first state", "RMSE",
            f"Above, the angle of one pendulum and its forecasts; below, the error over time. RMSE at t = 10: {at_ten}.",
        ),
        frequency_law(
            "frequency-law", measured, exact, "The frequency falls with the energy",
            "Angular frequency of forecast pendulums over their energy, on the line of the elliptic integral. Median relative "
            + "errors: " + "; ".join(f"{name} {law.median_error:.2%}" for name, law in laws.items()) + ".",
        ),
    ]  # fmt: skip
