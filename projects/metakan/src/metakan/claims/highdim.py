"""C6: a function of a hundred (or a thousand) variables with a fifth of KAN's parameters."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tenfold.claims import Measurement, Scale, Table, claim

from ..figures import Point, error_against_parameters
from ..functions import high_dim_exp
from . import networks
from .regression import Fit, fit_function
from .training import derive, device_for


@dataclass(frozen=True)
class Effort:
    """Number of variables, hidden width of the network, L-BFGS epochs of 20 iterations, largest MSE allowed."""

    n: int
    width: int
    epochs: int
    limit: float


EFFORTS = {
    Scale.SMOKE: Effort(20, 5, 5, 1e-3),
    Scale.CPU: Effort(100, 10, 40, 2e-5),
    Scale.GPU: Effort(1000, 10, 100, 2e-5),
    Scale.PAPER: Effort(1000, 10, 400, 2e-5),
}


@claim(
    "C6",
    "Fits a function of 100 variables with a fifth of KAN's parameters",
    source="section 5, high-dimensional functions",
)
def high_dimension(scale: Scale, seed: int) -> Measurement:
    """exp((1/n) Σ sin²(π x_i / 2)) by L-BFGS, whose line search leaves no learning rate to choose. cpu, gpu, paper: test
    MSE <= 2e-5, <= 1/5 of KAN's parameters, <= 10x its MSE. smoke (n = 20): MSE <= 1e-3 and fewer parameters."""
    return measure(EFFORTS[scale], seed, device_for(scale), full=scale != Scale.SMOKE)


def measure(effort: Effort, seed: int, device: torch.device, full: bool) -> Measurement:
    widths = [effort.n, effort.width, 1]
    function = high_dim_exp(effort.n)
    narrow_width = networks.width_of_equal_count(
        networks.count(lambda: networks.metakan(widths, hidden=32, bias=True)),
        lambda w: networks.kan([effort.n, w, 1], bias=True),
    )
    builders: dict[str, Callable[[], nn.Module]] = {
        "MetaKAN": lambda: networks.metakan(widths, hidden=32, bias=True),
        "KAN": lambda: networks.kan(widths, bias=True),
        "narrow KAN": lambda: networks.kan([effort.n, narrow_width, 1], bias=True),
        "MLP": lambda: networks.mlp(widths),
    }
    names = list(builders) if full else ["MetaKAN", "KAN"]
    run = derive(seed, 1)[0]
    fits: dict[str, Fit] = {
        name: fit_function(function, builders[name], run, effort.epochs, device) for name in names
    }
    ours, kan = fits["MetaKAN"], fits["KAN"]
    share = ours.parameters / kan.parameters
    passed = ours.finite and ours.mse <= effort.limit and share < 1
    criterion = f"test MSE <= {effort.limit:g} with fewer parameters than KAN"
    if full:
        passed = passed and share <= 1 / 5 and ours.mse <= 10 * kan.mse
        criterion = f"test MSE <= {effort.limit:g} and <= 10x KAN's, with <= 1/5 of its parameters"
    alt = "Test error over trainable parameters: " + "; ".join(
        f"{name} {fit.parameters:,} parameters, MSE {fit.mse:.1e}" for name, fit in fits.items()
    )
    return Measurement(
        quantity=f"test MSE on exp(mean sin²) of {effort.n} variables",
        ours=ours.mse,
        baseline=kan.mse,
        criterion=criterion,
        passed=bool(passed),
        values={"parameter_share": share, **{f"{n}/mse": f.mse for n, f in fits.items()}},
        tables=[
            Table(
                "fits",
                (
                    "model",
                    "trainable parameters",
                    "train MSE",
                    "test MSE",
                    "test RMSE",
                    "test MAE",
                    "finite",
                    "seconds",
                ),
                tuple(
                    (n, f.parameters, f.train_mse, f.mse, f.rmse, f.mae, f.finite, f.seconds)
                    for n, f in fits.items()
                ),
            )
        ],
        figures=[
            error_against_parameters(
                "highdim-error",
                [Point(name, fit.parameters, fit.mse) for name, fit in fits.items()],
                f"A function of {effort.n} variables",
                "test MSE",
                alt,
            )
        ],
    )
