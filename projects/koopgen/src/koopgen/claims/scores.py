"""How the claims judge a forecast: valid prediction time, error over time, divergence; the same for every model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.claims import Table

from ..latent import LatentModel
from ..metrics import ValidTime, divergence_rate, rmse_curve, valid_prediction_time
from .training import Outcome, Score, Sets, forecast


@dataclass(frozen=True)
class Judged:
    """What the forecasts of one model from the first states of the test trajectories are worth.

    Args:
        valid: valid prediction times, in units of time, at the threshold of the claim.
        rmse: error over time, mean over trajectories and channels, in units of the state.
        diverged: share of the forecasts that are not finite or leave the mean by more than 10 σ.
        dt: sampling interval.
        forecasts: the forecasts themselves.
    """

    valid: ValidTime
    rmse: Float[Tensor, "n"]
    diverged: float
    dt: float
    forecasts: Float[Tensor, "k n c"]

    def error_at(self, time: float) -> float:
        """RMSE at a time; infinite once a forecast is not finite."""
        index = round(time / self.dt)
        if index >= len(self.rmse):
            raise ValueError(f"time {time} is index {index}, the horizon has {len(self.rmse)} samples")
        return float(self.rmse[index])

    @property
    def curve(self) -> tuple[list[float], list[float]]:
        """Times and errors, for a picture."""
        return (self.dt * torch.arange(len(self.rmse))).tolist(), self.rmse.tolist()


def judge(model: LatentModel, sets: Sets, threshold: float) -> Judged:
    """Forecast the test trajectories over their whole length, each from its first state."""
    return judge_forecasts(forecast(model, sets.test[:, 0], sets.test.shape[1] - 1), sets, threshold)


def judge_forecasts(forecasts: Float[Tensor, "k n c"], sets: Sets, threshold: float) -> Judged:
    """The same for forecasts that were made in another way."""
    valid = _valid_times(forecasts, sets.test, sets, threshold)
    mean = sets.train.mean((0, 1))
    return Judged(
        valid,
        rmse_curve(forecasts, sets.test),
        divergence_rate(forecasts, sets.sigma, mean),
        sets.dt,
        forecasts,
    )


def valid_time_score(sets: Sets, threshold: float) -> Score:
    """Judges by the mean valid prediction time; ties (all 0, or all at the cap) are decided by the error."""

    def score(model: LatentModel, x: Float[Tensor, "m s c"]) -> float:
        forecasts = forecast(model, x[:, 0], x.shape[1] - 1)
        error = rmse_curve(forecasts, x).clamp(max=1e3 * sets.sigma).mean() / sets.sigma
        return _valid_times(forecasts, x, sets, threshold).mean - 1e-6 * float(error)

    return score


def error_score(steps: int) -> Score:
    """Judges by the error up to `steps` sampling intervals ahead; not finite is the worst."""

    def score(model: LatentModel, x: Float[Tensor, "m s c"]) -> float:
        return -float(rmse_curve(forecast(model, x[:, 0], steps), x[:, : steps + 1]).mean())

    return score


def _valid_times(forecasts: Tensor, target: Tensor, sets: Sets, threshold: float) -> ValidTime:
    return valid_prediction_time(
        forecasts,
        target,
        dt=sets.dt,
        sigma=sets.sigma,
        threshold=threshold,
        lyapunov=sets.lyapunov or None,
    )


def comparison_table(
    name: str, outcomes: Mapping[str, Outcome], judged: Mapping[str, Judged], times: tuple[float, ...]
) -> Table:
    """One row a model. Valid prediction times in units of time and, where there are any, in Lyapunov times."""
    columns = (
        "model", "trainable parameters", "rate", "VPT mean", "VPT median", "VPT mean (Lyapunov times)", "at the cap",
        *(f"RMSE at t = {t:g}" for t in times), "diverged", "training loss", "why it is no result",
    )  # fmt: skip
    rows = []
    for label, found in judged.items():
        outcome = outcomes.get(label)
        lyapunov = found.valid.in_lyapunov_times
        rows.append(
            (
                label,
                outcome.parameters if outcome else None,
                outcome.rate if outcome else None,
                found.valid.mean,
                found.valid.median,
                lyapunov.mean if lyapunov else None,
                found.valid.cap_share,
                *(found.error_at(t) for t in times),
                found.diverged,
                outcome.training.prediction if outcome else None,
                outcome.training.failure if outcome else None,
            )
        )
    return Table(name, columns, tuple(rows))
