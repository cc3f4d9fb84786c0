"""The commands `koopgen evaluate`, `analyze` and `forecast`: what a trained model is worth, what it says, what it foresees."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.checkpoint import CheckpointError, write_atomically
from tenfold.cli import CommandLineError

from .analysis import long_run, read_out
from .latent import LatentModel
from .metrics import divergence_rate, nrmse_curve, rmse_curve, valid_prediction_time
from .model import GeneratorModel
from .portraits import portraits
from .pretrained import load_model
from .rings import load_pendulum_rings
from .systems import get_system
from .trajectories import TrajectorySet

THRESHOLDS = (0.1, 0.2, 0.3)
"""ε of the valid prediction times with a scalar σ (§8)."""

FIELD_STANDARD = 0.4
"""ε with the standard deviation of each channel (§8)."""

TEST_SEED = 1_000_003
"""Seed of the test trajectories unless one is given: far from the seeds that training data are drawn with (10.14)."""


def evaluate(argv: Sequence[str]) -> int:
    """Forecast fresh trajectories of a system from their first states; print and save errors and valid prediction times."""
    parser = _parser("evaluate", "forecast fresh trajectories of a system and measure the errors")
    _add_data(parser, n=256, horizon=300)
    parser.add_argument(
        "--sigma", type=float, help="scalar σ of the thresholds; that of the test trajectories if left out"
    )
    parser.add_argument("--out", type=Path, help="write the numbers to this JSON file")
    options = parser.parse_args(list(argv))
    model, data = _model(options.model), _data(options)
    _check_fit(model, data)
    numbers = evaluation(model, data, options.sigma)
    print(_lines(numbers))
    if options.out:
        _write(options.out, (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode())
    return 0


def analyze(argv: Sequence[str]) -> int:
    """Read a generator over the states of a system: rates, frequencies, shares, the certificate, and pictures of them."""
    parser = _parser(
        "analyze", "read out rotation, growth and decay over the states of a system, with pictures"
    )
    _add_data(parser, n=64, horizon=100)
    parser.add_argument(
        "--steps", type=int, default=1000, help="steps of the roll-outs for the certificate (default 1000)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("analysis"),
        help="folder for pictures and numbers (default analysis)",
    )
    options = parser.parse_args(list(argv))
    model, data = _model(options.model), _data(options)
    _check_fit(model, data)
    if not isinstance(model, GeneratorModel):
        raise CommandLineError(
            f"{type(model).__name__} has no generator to analyze; evaluate works for every model"
        )
    numbers = analysis(model, data.x, options.steps)
    print(_lines(numbers))
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "analysis.json", (json.dumps(numbers, indent=2, allow_nan=False) + "\n").encode())
    for figure in portraits(model, data):
        _write(options.out / f"{figure.name}.png", figure.png)
        print(options.out / f"{figure.name}.png")
    return 0


def forecast(argv: Sequence[str]) -> int:
    """Forecast from states that are given, to a CSV file or the terminal."""
    parser = _parser("forecast", "forecast from given states")
    parser.add_argument(
        "--start", required=True, help="a state as 0.5,1.0, or a .csv or .npy file with one state a row"
    )
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--steps", type=int, help="number of sampling intervals")
    when.add_argument("--times", help="increasing times as 0,0.1,0.5; they need not be uniform")
    parser.add_argument("--out", type=Path, help="write this CSV file instead of printing")
    options = parser.parse_args(list(argv))
    model, start = _model(options.model), _start(options.start)
    times = None if options.times is None else _numbers("--times", options.times)
    try:
        found = model.forecast_checked(start.to(model.dtype), options.steps, times)
    except (ValueError, TypeError) as error:
        raise CommandLineError(str(error)) from error
    text = _csv(found.t, found.x.detach())
    if options.out:
        _write(options.out, text.encode())
    else:
        print(text, end="")
    return 0


# What is measured -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluation(model: LatentModel, data: TrajectorySet, sigma: float | None = None) -> dict[str, Any]:
    """Errors and valid prediction times of forecasts of `data` from the first states; JSON values, null if not finite.

    Args:
        model: any model of this package.
        data: trajectories of one length.
        sigma: scalar σ; the root mean square of the channels' standard deviations of `data` if None (10.8).
    """
    x, steps = data.x.to(model.dtype), data.x.shape[1] - 1
    found = model.forecast_checked(x[:, 0], steps, dt=data.dt).x
    scale = data.sigma if sigma is None else sigma
    rmse = rmse_curve(found, x)
    numbers: dict[str, Any] = {
        "model": type(model).__name__,
        "trajectories": len(data),
        "horizon": data.dt * steps,
        "sigma": scale,
        "divergence_rate": divergence_rate(found, scale, data.mean.to(x)),
    }
    for name, index in (("start", 0), ("middle", steps // 2), ("end", steps)):
        numbers[f"rmse_{name}"] = float(rmse[index])
    numbers["nrmse_mean"] = float(nrmse_curve(found, x, data.channel_std.to(x)).mean())
    scales: list[tuple[str, float, float | Tensor]] = [(f"{e:g}_sigma", e, scale) for e in THRESHOLDS]
    for name, threshold, by in [*scales, (f"nrmse_{FIELD_STANDARD:g}", FIELD_STANDARD, data.channel_std)]:
        valid = valid_prediction_time(
            found, x, dt=data.dt, sigma=by, threshold=threshold, lyapunov=data.lyapunov
        )
        numbers |= {f"vpt_{name}": valid.mean, f"vpt_{name}_median": valid.median}
        numbers |= {f"vpt_{name}_cap": valid.cap, f"vpt_{name}_cap_share": valid.cap_share}
        if valid.in_lyapunov_times is not None:
            numbers[f"vpt_{name}_lyapunov_times"] = valid.in_lyapunov_times.mean
    return {name: _finite(value) for name, value in numbers.items()}


def analysis(model: GeneratorModel, x: Float[Tensor, "b t n_x"], steps: int) -> dict[str, Any]:
    """Read-outs over the states of trajectories, and the certificate of roll-outs from their first ones; per unit of time."""
    found = read_out(model, x.to(model.dtype))
    run = long_run(model, x[:16, 0], steps)
    assert run.holds is not None
    assert run.log_bound is not None
    numbers: dict[str, Any] = {
        "model": type(model).__name__,
        "states": x.shape[0] * x.shape[1],
        "dissipative_share": float(found.dissipative_share.nanmean()),
        "energy_rate_mean": float(found.energy_rate.mean()),
        "energy_rate_std": float(found.energy_rate.std()),
        "local_rate_least": float(found.rates.min()),
        "local_rate_largest": float(found.rates.max()),
        "local_frequency_median": float(found.frequencies[..., -1].median()),
        "local_frequency_largest": float(found.frequencies.max()),
        "rollout_steps": steps,
        "rollouts_finite": float(run.finite.double().mean()),
        "certificate_holds": bool(run.holds.all()),
        "certificate_ln_bound_at_the_end": float((run.log_bound[:, -1] - run.log_norm[:, 0]).max()),
        "ln_norm_growth_at_the_end": float((run.log_norm[:, -1] - run.log_norm[:, 0]).max()),
    }
    return {name: _finite(value) for name, value in numbers.items()}


# Arguments and files --------------------------------------------------------------------------------------------------


def _parser(command: str, what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"koopgen {command}", description=what, allow_abbrev=False)
    parser.add_argument(
        "model",
        help="a folder of save_pretrained, a run directory, a checkpoint in one, or a preset (its newest run)",
    )
    return parser


def _add_data(parser: argparse.ArgumentParser, n: int, horizon: int) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--system", help="the system the trajectories are generated from, e.g. lorenz63")
    source.add_argument(
        "--data", help="an .npz file of TrajectorySet.save, or pendulum_rings (PendulumRings.csv)"
    )
    parser.add_argument("--n", type=int, default=n, help=f"number of trajectories (default {n})")
    parser.add_argument(
        "--horizon", type=int, default=horizon, help=f"their sampling intervals (default {horizon})"
    )
    parser.add_argument(
        "--seed", type=int, default=TEST_SEED, help=f"of their initial conditions (default {TEST_SEED})"
    )


def _model(source: str) -> LatentModel:
    try:
        return load_model(source)
    except (CheckpointError, FileNotFoundError) as error:
        raise CommandLineError(str(error)) from error


def _data(options: argparse.Namespace) -> TrajectorySet:
    try:
        if options.system is not None:
            return get_system(options.system).generate(options.n, options.horizon, options.seed)
        given = (
            load_pendulum_rings() if options.data == "pendulum_rings" else TrajectorySet.load(options.data)
        )
        return _first(given, options.n, options.horizon)
    except (ValueError, FileNotFoundError) as error:
        raise CommandLineError(str(error)) from error


def _first(data: TrajectorySet, n: int, horizon: int) -> TrajectorySet:
    """The beginnings of the first trajectories that are long enough."""
    if n < 1 or horizon < 1:
        raise ValueError(f"n and horizon must be at least 1, got {n} and {horizon}")
    long_enough = [x[: horizon + 1] for x in data.trajectories if len(x) > horizon][:n]
    if not long_enough:
        raise ValueError(
            f"no trajectory has {horizon + 1} samples, the longest has {int(data.lengths.max())}; lower --horizon"
        )
    return TrajectorySet(torch.stack(long_enough), data.dt, data.lyapunov, data.meta)


def _check_fit(model: LatentModel, data: TrajectorySet) -> None:
    if data.n_x != model.n_x:
        raise CommandLineError(f"the data have {data.n_x} channels, the model was made for {model.n_x}")


def _start(text: str) -> Float[Tensor, "b n_x"]:
    path = Path(text)
    if path.suffix not in (".csv", ".npy"):
        return _numbers("--start", text)[None]
    if not path.is_file():
        raise CommandLineError(f"--start: no file {path}")
    try:
        values = (
            np.load(path, allow_pickle=False)
            if path.suffix == ".npy"
            else np.loadtxt(path, delimiter=",", ndmin=2)
        )
        return torch.as_tensor(np.atleast_2d(values), dtype=torch.float64)
    except (ValueError, TypeError) as error:
        raise CommandLineError(f"--start: {path} does not hold one state a row: {error}") from error


def _numbers(option: str, text: str) -> Float[Tensor, "n"]:
    try:
        return torch.tensor([float(part) for part in text.split(",")], dtype=torch.float64)
    except ValueError as error:
        raise CommandLineError(f"{option} takes numbers with commas between them, got {text!r}") from error


def _csv(t: Float[Tensor, "n"], x: Float[Tensor, "b n n_x"]) -> str:
    head = ",".join(["trajectory", "t", *(f"x{i}" for i in range(x.shape[-1]))])
    rows = [
        ",".join([str(b), f"{float(time):.9g}", *(f"{value:.9g}" for value in state)])
        for b, states in enumerate(x.tolist())
        for time, state in zip(t.tolist(), states)
    ]
    return "\n".join([head, *rows]) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinity: such a number is null."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _lines(numbers: dict[str, Any]) -> str:
    width = max(map(len, numbers)) + 2
    shown = {
        k: "not finite" if v is None else f"{v:.6g}" if isinstance(v, float) else v
        for k, v in numbers.items()
    }
    return "\n".join(f"{name:<{width}}{value}" for name, value in shown.items())


def _write(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, payload)
