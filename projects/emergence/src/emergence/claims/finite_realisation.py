"""C7: an infinitely deep contraction is a finite network — its output after P_eff turns is its limit (T2, T6, §8)."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels

from ..figures import depth_limits
from ..models.config import GPTConfig, gpt2_style
from ..models.looped_gpt import LoopedGPT
from ..models.tiny_gpt import Readout
from .corpora import Corpus, corpus_for
from .scales import derive, device_for, in_words
from .training import Effort, start, train

LAM = 0.8
"""Certified Lipschitz constant of one turn."""

LIMIT = 256
"""Turns that stand for infinitely many."""

TOLERANCES = (1e-2, 1e-3, 1e-4)
"""Relative distances ε to the limit for which P_eff is compared with what is observed."""

FITTED = range(4, 13)
"""Turns that the rate is fitted on; P_eff of the smaller tolerances is an extrapolation where the rate is slow."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a scale: of the model, of its training, the windows and the turns at which accuracy is measured."""

    sizes: dict[str, int]
    effort: Effort
    loops: int = 8
    n_windows: int = 64


SMALL = {"ctx": 32, "d": 48, "heads": 4}
SETTINGS = {
    Scale.SMOKE: Setting(SMALL, Effort(60, rates=(3e-3,)), n_windows=16),
    Scale.CPU: Setting(SMALL, Effort(400, rates=(3e-3,)), n_windows=128),
    Scale.GPU: Setting({"ctx": 512, "d": 512, "heads": 8}, Effort(1000, 512, 64, rates=(1e-3,), warmup=60)),
    Scale.PAPER: Setting(
        {"ctx": 1024, "d": 1024, "heads": 16}, Effort(20_000, 1024, 64, rates=(1e-3,), warmup=500)
    ),
}


@claim(
    "C7",
    "An infinite system has a finite realisation: a certified loop reaches its limit after P_eff turns",
    source="abstract (limit architecture); the experiment is a reconstruction",
)
def finite_realisation(scale: Scale, seed: int) -> Measurement:
    """A language model whose loop has Lip <= 0.8 by construction, trained with 1 to 8 turns, against an unconstrained loop.

    Distances are to the stream after 256 turns, relative, in float64, on validation text. The rate λ̂ and the constant C are
    fitted on turns 4 to 12; P_eff(ε) = ⌈log(C/ε) / log(1/λ̂)⌉.

    All scales: the distance decays geometrically (R² of its logarithm >= 0.95, λ̂ <= 0.8); P_eff matches the observed number
    of turns within 20 % (or one turn) for ε = 1e-2, 1e-3, 1e-4; the accuracy after P_eff(1e-2) turns is within 1 % of that
    after 256; four times the trained turns change it by less than 1 %. The unconstrained loop stands beside it without a
    condition, its stream divided by the root mean square of each token: in raw coordinates it grows with every turn (10.4).
    """
    setting, device, corpus = SETTINGS[scale], device_for(scale), corpus_for(scale)
    run = derive(seed, 1)[0]
    certified = trained(config_for(setting, corpus, LAM), setting, corpus, run, device)
    free = trained(config_for(setting, corpus, None), setting, corpus, run, device)
    windows = corpus.windows(setting.effort.ctx, setting.n_windows)
    distances = {
        "certified": to_the_limit(certified, windows[0]),
        "free": to_the_limit(free, windows[0], "rms"),
    }
    law = fit_rate(distances["certified"])
    reached = {eps: (law.turns(eps), observed_turns(distances["certified"], eps)) for eps in TOLERANCES}
    effective = min(max(1, reached[TOLERANCES[0]][0]), LIMIT)
    turns = sorted({1, 2, 4, setting.loops, 4 * setting.loops, effective, LIMIT})
    accuracy = {name: accuracies(m, windows, turns) for name, m in (("certified", certified), ("free", free))}
    ours = accuracy["certified"]
    conditions = {
        "decay_geometric_R²_at_least_0.95": law.r2 >= 0.95,
        "rate_at_most_0.8": law.rate <= LAM,
        "P_eff_within_20_%_or_one_turn": all(
            abs(said - seen) <= max(1, 0.2 * seen) for said, seen in reached.values()
        ),
        "accuracy_at_P_eff_within_1_%_of_the_limit": abs(ours[effective] - ours[LIMIT]) < 0.01,
        "4x_the_trained_turns_change_accuracy_below_1_%": abs(ours[4 * setting.loops] - ours[setting.loops])
        < 0.01,
    }
    values: dict[str, Value] = {**conditions, "rate": law.rate, "R²": law.r2}
    for eps, (said, seen) in reached.items():
        values |= {f"P_eff({eps:g})": said, f"observed turns({eps:g})": seen}
    values["free loop: distance after 8 turns"] = float(distances["free"][8])
    values["free loop: accuracy change at 4x the turns"] = (
        accuracy["free"][4 * setting.loops] - accuracy["free"][setting.loops]
    )
    return Measurement(
        quantity=f"next-token accuracy after {LIMIT} turns ({corpus.name}), trained with at most {setting.loops}; "
        "baseline: unconstrained loop",
        ours=ours[LIMIT],
        baseline=accuracy["free"][LIMIT],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[accuracy_table(turns, accuracy)],
        figures=[picture(distances, law)],
    )  # fmt: skip


def config_for(setting: Setting, corpus: Corpus, lam: float | None) -> GPTConfig:
    """One block before the loop; one turn is one block, injected with what comes out of it."""
    return gpt2_style(
        **setting.sizes,
        vocab=corpus.vocab,
        n_blocks=1,
        prelude=1,
        loops=setting.loops,
        lam=lam,
        injection=True,
    )


def trained(
    config: GPTConfig, setting: Setting, corpus: Corpus, seed: int, device: torch.device
) -> LoopedGPT:
    effort = setting.effort
    model = start(config, seed, device)
    assert isinstance(model, LoopedGPT)
    draw = corpus.batches(effort.ctx, effort.batch_size, seed)
    run = train(model, draw, effort.optim(effort.rates[0]), effort.steps, seed=seed)
    if run.failure is not None:
        raise RuntimeError(f"training with lam = {config.lam} failed: {run.failure}")
    return model


@torch.no_grad()
def to_the_limit(
    model: LoopedGPT, tokens: Tensor, readout: Readout = "raw", n_windows: int = 4
) -> Float[Tensor, "turns"]:
    """‖z_P − z_256‖ / ‖z_256‖ for P = 0 … 64, in float64."""
    exact = copy.deepcopy(model).double().eval()
    states = exact.states(tokens[:n_windows].to(next(exact.parameters()).device), LIMIT, readout)
    limit = states[-1]
    return torch.stack([(z - limit).norm() / limit.norm() for z in states[:65]]).cpu()


@dataclass(frozen=True)
class Decay:
    """distance ≈ C rate^P, and how well that holds: R² of the logarithm."""

    rate: float
    constant: float
    r2: float

    def turns(self, eps: float) -> int:
        """P_eff(ε) = ⌈log(C/ε) / log(1/rate)⌉."""
        if not 0 < self.rate < 1:
            return LIMIT
        return max(0, math.ceil(math.log(self.constant / eps) / -math.log(self.rate)))


def fit_rate(distances: Float[Tensor, "turns"], fitted: Sequence[int] = FITTED) -> Decay:
    """Least squares on the logarithm of the distance, over turns at which it is above rounding.

    Raises:
        ValueError: if fewer than three of the turns are above rounding (1e-12).
    """
    p = torch.tensor([turn for turn in fitted if float(distances[turn]) > 1e-12])
    if len(p) < 3:
        raise ValueError(
            f"distances fall below 1e-12 after {len(p)} of the fitted turns: nothing to fit a rate on"
        )
    log = distances[p].log()
    centred = p.double() - p.double().mean()
    slope = float((centred * log).sum() / centred.square().sum())
    level = float(log.mean()) - slope * float(p.double().mean())
    total = float((log - log.mean()).square().sum())
    residual = float((log - level - slope * p).square().sum())
    return Decay(math.exp(slope), math.exp(level), 1 - residual / total if total > 0 else 0.0)


def observed_turns(distances: Float[Tensor, "turns"], eps: float) -> int:
    """The first number of turns with a distance of at most ε; all turns looked at if there is none."""
    near = (distances <= eps).nonzero()
    return int(near[0]) if len(near) else len(distances)


@torch.no_grad()
def accuracies(model: LoopedGPT, windows: tuple[Tensor, Tensor], turns: Sequence[int]) -> dict[int, float]:
    """Share of next tokens that are right, by number of turns."""
    tokens, targets = (part.to(next(model.parameters()).device) for part in windows)
    model.eval()
    found = {}
    for n_loops in turns:
        right = [
            (model(x, n_loops).argmax(-1) == y).double().mean()
            for x, y in zip(tokens.split(32), targets.split(32))
        ]
        found[n_loops] = float(torch.stack(right).mean())
    return found


def accuracy_table(turns: Sequence[int], accuracy: Mapping[str, Mapping[int, float]]) -> Table:
    rows = tuple((p, accuracy["certified"][p], accuracy["free"][p]) for p in turns)
    return Table("accuracy by turns", ("turns P", "certified loop", "unconstrained loop"), rows)


def picture(distances: Mapping[str, Tensor], law: Decay) -> Figure:
    turns = list(map(float, range(65)))
    fitted = [law.constant * law.rate**p for p in turns]
    lines = {
        "certified loop": (turns, distances["certified"].tolist()),
        "unconstrained loop, normalised": (turns, distances["free"].tolist()),
        f"fit, rate {law.rate:.3f}": (turns, [fit if fit > 1e-16 else math.nan for fit in fitted]),
    }
    return depth_limits(
        "distance-to-the-limit",
        lines,
        Labels(
            "A certified loop reaches its limit at a known pace",
            "turns P",
            "distance to P = 256, relative",
            f"Distance of the stream after P turns to that after 256: the certified loop falls by a factor of {law.rate:.3f} "
            f"a turn; the unconstrained one is at {float(distances['free'][64]):.2g} after 64 turns.",
        ),
        log="y",
    )
