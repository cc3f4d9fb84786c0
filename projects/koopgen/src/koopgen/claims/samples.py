"""The trajectories of the claims: three independent draws of a system, from seeds that no other part shares (10.14)."""

from dataclasses import dataclass

from ..systems import get_system
from .training import Sets, derive


@dataclass(frozen=True)
class Sizes:
    """How many trajectories of how many sampling intervals.

    Args:
        train, train_steps: trajectories that windows are cut from.
        validation, validation_steps: those that judge the learning rates.
        test, test_steps: those that give the result; the steps are the horizon.
        history: sampling intervals before the first test sample that are kept, for the echo-state network.
    """

    train: int
    train_steps: int
    validation: int
    validation_steps: int
    test: int
    test_steps: int
    history: int = 0


def make_sets(name: str, sizes: Sizes, seed: int, sigma: float | None = None) -> Sets:
    """Three parts of the system `name`; σ is that of the training part, rms over channels, unless one is given."""
    system = get_system(name)
    draws = zip(
        (sizes.train, sizes.validation, sizes.test),
        (sizes.train_steps, sizes.validation_steps, sizes.history + sizes.test_steps),
        derive(seed, 3),
    )
    train, validation, test = (system.generate(n, steps, part) for n, steps, part in draws)
    return Sets(
        train.x,
        validation.x,
        test.x[:, sizes.history :],
        system.dt,
        system.reference.lyapunov or 0.0,
        train.sigma if sigma is None else sigma,
        test.x[:, : sizes.history + 1] if sizes.history else None,
    )
