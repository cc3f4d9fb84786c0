"""The echo-state network beside the trained models: cheap, strong on chaos, and given more — a history of states."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..esn import tune_echo_state
from ..trajectories import TrajectorySet
from .training import Sets

TRAJECTORIES = 200
"""Training trajectories of the read-out; more do not change it, and its cost grows with them."""

VALIDATION = 50
"""Validation trajectories that choose spectral radius, input scaling and ridge."""


def reservoir_forecasts(sets: Sets, neurons: int, threshold: float, seed: int) -> Float[Tensor, "k n c"]:
    """Forecasts of the test trajectories, each after its history; index 0 is the last sample of the history.

    Raises:
        ValueError: if the sets were made without a history.
        ModuleNotFoundError: if reservoirpy is missing; it is the extra `esn`.
    """
    if sets.history is None:
        raise ValueError("the sets have no history; the echo-state network cannot start from one state alone")
    train = TrajectorySet(sets.train[:TRAJECTORIES].cpu(), sets.dt)
    validation = TrajectorySet(sets.validation[:VALIDATION].cpu(), sets.dt)
    network, _ = tune_echo_state(
        train,
        validation,
        units=neurons,
        washout=min(20, sets.history.shape[1]),
        threshold=threshold * sets.sigma / train.sigma,
        seed=seed % 2**32,
    )
    forecasts = network.forecast(sets.history, sets.test.shape[1] - 1)
    return forecasts.to(sets.test.device, torch.float32)
