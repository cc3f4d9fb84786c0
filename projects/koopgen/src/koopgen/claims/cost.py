"""K7: what a training step and a forecast step cost, against the baselines and against the dense matrix exponential."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.claims import Measurement, Scale, Table, Value, claim

from ..baselines import LRAN, DeepKoopman, NeuralODE
from ..latent import LatentModel
from ..losses import KoopGenLoss
from ..model import KoopGen
from ..objective import window_loss
from ..optim import Rates, make_adamw
from ..propagators import cayley_step, expm_step, taylor_step
from .training import device_for, in_words, seeded

LEAST_SPEEDUP, LARGEST_DIFFERENCE = 3.0, 1e-5


@dataclass(frozen=True)
class Effort:
    """Latent sizes of the propagators, batch, timed rounds, and the sizes of the models.

    Args:
        dimensions: latent sizes; 32 is the one of the criterion.
        batch, rounds: states a step, repetitions; medians are reported.
        n_x, hidden, bases, window: of the models, whose latent size is 32.
    """

    dimensions: tuple[int, ...]
    batch: int
    rounds: int
    n_x: int
    hidden: int
    bases: int
    window: int


EFFORTS = {
    Scale.SMOKE: Effort((32,), 128, 3, 16, 64, 8, 6),
    Scale.CPU: Effort((6, 32, 64), 128, 7, 64, 256, 16, 30),
    Scale.GPU: Effort((6, 32, 64), 128, 20, 64, 256, 16, 30),
    Scale.PAPER: Effort((6, 32, 64), 128, 20, 128, 1024, 30, 40),
}


@claim(
    "K7",
    "The Taylor action makes state-dependent generators affordable",
    source="inferred: section 3, exponential map; abstract, scalability",
)
def cost_of_a_step(scale: Scale, seed: int) -> Measurement:
    """Forward and backward of one propagator step, batch 128, one thread: taylor >= 3x faster than expm at d = 32, with the
    same result and gradients to 1e-5. Training and forecast steps of all models are reported. On CUDA (gpu, paper) the
    same criterion, on the device."""
    effort, device = EFFORTS[scale], device_for(scale)
    rows = [row for d in effort.dimensions for row in propagator_costs(d, effort, seed, device)]
    by_name = {(row.name, row.d): row for row in rows}
    expm, taylor = by_name["expm", 32], by_name["taylor", 32]
    speedup = expm.seconds / taylor.seconds
    conditions = {
        "taylor_at_least_3x_faster_than_expm_at_d_32": speedup >= LEAST_SPEEDUP,
        "same_result_to_1e-5": taylor.difference <= LARGEST_DIFFERENCE,
    }
    models = model_costs(effort, seed, device)
    values: dict[str, Value] = {**conditions, "difference": taylor.difference}
    for d in effort.dimensions:
        for name in ("taylor", "cayley"):
            values[f"{name}/speedup_at_d_{d}"] = by_name["expm", d].seconds / by_name[name, d].seconds
    lran = next(model for model in models if model.name == "LRAN")
    values |= {f"{model.name}/step_over_LRAN": model.training / lran.training for model in models}
    return Measurement(
        quantity="propagator step at d = 32, forward and backward (ms); baseline: dense exponential",
        ours=1000 * taylor.seconds,
        baseline=1000 * expm.seconds,
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[_propagator_table(rows), _model_table(models)],
    )


@dataclass(frozen=True)
class PropagatorCost:
    """Median seconds of forward and backward, largest relative difference of result and gradients from expm."""

    name: str
    d: int
    seconds: float
    difference: float


def propagator_costs(d: int, effort: Effort, seed: int, device: torch.device) -> list[PropagatorCost]:
    """The three propagators on the same matrices, skew plus symmetric with norm about 0.3, in turns."""
    generator = torch.Generator().manual_seed(seed)
    G = torch.randn(effort.batch, d, d, generator=generator)
    G = (0.3 * G / torch.linalg.matrix_norm(G, 2)[:, None, None]).to(device)
    z, cotangent = (torch.randn(effort.batch, d, generator=generator).to(device) for _ in range(2))
    steps = {"expm": expm_step, "taylor": taylor_step, "cayley": cayley_step}
    results: dict[str, list[Tensor]] = {}

    def run(name: str) -> None:
        a, b = G.clone().requires_grad_(), z.clone().requires_grad_()
        y = steps[name](a, b)
        results[name] = [y.detach(), *torch.autograd.grad(y, (a, b), cotangent)]

    seconds = in_turns({name: (lambda name=name: run(name)) for name in steps}, effort.rounds, device)  # type: ignore[misc]
    return [
        PropagatorCost(name, d, seconds[name], _difference(results[name], results["expm"])) for name in steps
    ]


def _difference(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, exact))


def in_turns(jobs: dict[str, Callable[[], None]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round in range(rounds + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if round > 0:  # the first one warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: sorted(found)[len(found) // 2] for name, found in seconds.items()}


@dataclass(frozen=True)
class ModelCost:
    """Parameters, and seconds of a training step and of a forecast step of the batch."""

    name: str
    parameters: int
    training: float
    forecast: float


def model_costs(effort: Effort, seed: int, device: torch.device) -> list[ModelCost]:
    """KoopGen with each propagator, and the baselines, on random windows."""
    size: dict[str, Any] = {"dt": 1.0, "hidden": effort.hidden, "layers": 4}
    generated: dict[str, Any] = size | {"m_skew": effort.bases, "m_self": effort.bases}
    builders: dict[str, Callable[[], LatentModel]] = {
        "KoopGen, taylor": lambda: KoopGen(effort.n_x, 32, **generated),
        "KoopGen, cayley": lambda: KoopGen(effort.n_x, 32, propagator="cayley", **generated),
        "KoopGen, expm": lambda: KoopGen(effort.n_x, 32, propagator="expm", **generated),
        "LRAN": lambda: LRAN(effort.n_x, 32, **size),
        "DeepKoopman": lambda: DeepKoopman(effort.n_x, 32, **size),
        "NeuralODE": lambda: NeuralODE(effort.n_x, **size),
    }
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(effort.batch, effort.window, effort.n_x, generator=generator).to(device)
    models = {name: seeded(seed, build).to(device) for name, build in builders.items()}
    rounds = max(1, effort.rounds // 3)
    training = in_turns({name: _training_step(model, x) for name, model in models.items()}, rounds, device)
    forecasts = in_turns({name: _forecast(model, x) for name, model in models.items()}, rounds, device)
    steps = effort.window - 1
    return [
        ModelCost(name, sum(p.numel() for p in model.parameters()), training[name], forecasts[name] / steps)
        for name, model in models.items()
    ]


def _training_step(model: LatentModel, x: Tensor) -> Callable[[], None]:
    optimizer, criterion = make_adamw(model, Rates(1e-5)), KoopGenLoss()

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        window_loss(criterion, model, x).total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _forecast(model: LatentModel, x: Tensor) -> Callable[[], None]:
    @torch.no_grad()
    def step() -> None:
        model.eval()
        model.rollout(model.encode(x[:, 0]), steps=x.shape[1] - 1)

    return step


def _propagator_table(rows: Sequence[PropagatorCost]) -> Table:
    columns = ("propagator", "d", "ms, forward and backward", "largest relative difference from expm")
    return Table("propagators", columns, tuple((r.name, r.d, 1000 * r.seconds, r.difference) for r in rows))


def _model_table(rows: Sequence[ModelCost]) -> Table:
    columns = ("model", "trainable parameters", "ms a training step", "ms a forecast step")
    return Table(
        "models", columns, tuple((r.name, r.parameters, 1000 * r.training, 1000 * r.forecast) for r in rows)
    )
