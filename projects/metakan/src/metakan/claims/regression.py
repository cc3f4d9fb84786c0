"""What C6 and C7 share: fitting a target function by L-BFGS and measuring MSE, RMSE and MAE under their own names."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tenfold import metrics

from ..account import count_parameters
from ..functions import TargetFunction
from ..lbfgs import fit_lbfgs
from .training import seeded


@dataclass(frozen=True)
class Fit:
    """One fit: errors on the test points, whether every loss was finite, the work."""

    parameters: int
    train_mse: float
    mse: float
    rmse: float
    mae: float
    finite: bool
    seconds: float


def fit_function(
    function: TargetFunction,
    build: Callable[[], nn.Module],
    seed: int,
    epochs: int,
    device: torch.device,
    dtype: torch.dtype = torch.float64,
    n_train: int = 1000,
    n_test: int = 1000,
) -> Fit:
    """Full-batch L-BFGS on uniform points of the box, mapped to [−1, 1]^d; the points come from the data seed 0 (§5.3)."""
    generator = torch.Generator().manual_seed(0)
    (x, y), (x_test, y_test) = (
        tuple(t.to(device) for t in function.sample(n, generator, dtype)) for n in (n_train, n_test)
    )
    x, x_test = function.normalise(x), function.normalise(x_test)
    model = seeded(seed, build).to(device, dtype).train()
    started = time.perf_counter()
    report = fit_lbfgs(model, lambda: metrics.mse(model(x).reshape(-1), y), epochs=epochs)
    seconds = time.perf_counter() - started
    model.eval()
    with torch.no_grad():
        prediction = model(x_test).reshape(-1)
    mse = float(metrics.mse(prediction, y_test))
    mae = float(metrics.mae(prediction, y_test))
    return Fit(count_parameters(model), report.loss, mse, mse**0.5, mae, report.finite, seconds)
