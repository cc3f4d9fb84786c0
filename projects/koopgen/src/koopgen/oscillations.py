"""How trajectories that swing are read: energy, frequency, and the rate at which their amplitude decays; on tensors.

The answers to compare with are known: the pendulum's frequency law (P10), and −γ/2 for the amplitude of a small swing
damped by −γθ̇.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .systems.pendulum import frequency


def pendulum_energy(x: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """E = ½θ̇² − cos θ of states (θ, θ̇): −1 at rest, 1 on the separatrix.

    Raises:
        ValueError: if the last axis does not hold two values.
    """
    if x.shape[-1] != 2:
        raise ValueError(f"x must end in (angle, velocity), got {x.shape[-1]} values")
    return 0.5 * x[..., 1] ** 2 - x[..., 0].cos()


def pendulum_frequency(energy: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The exact angular frequency ω(E) = π / (2 K(k)), k² = (E + 1)/2, in radians per unit of time (P10).

    Raises:
        ValueError: for energies outside [−1, 1), where the pendulum does not swing.

    Example:
        >>> pendulum_frequency(torch.tensor([-1.0, 0.8], dtype=torch.float64))
        tensor([1.0000, 0.6093], dtype=torch.float64)
    """
    return torch.as_tensor(frequency(energy.detach().double().cpu().numpy())).to(energy)


def swing_frequency(signal: Float[Tensor, "batch n"], dt: float) -> Float[Tensor, "batch"]:
    """Angular frequency of signals that swing about zero, from their first to their last change of sign.

    The times of the changes are interpolated linearly, which is exact to third order for an angle: its acceleration
    vanishes at zero.

    Args:
        signal: for the pendulum the angle, one row a trajectory.
        dt: sampling interval.

    Returns:
        Radians per unit of time; NaN for a row that has fewer than two changes of sign or is not finite.

    Example:
        >>> t = torch.arange(0, 20, 0.05, dtype=torch.float64)
        >>> swing_frequency(torch.stack([(2 * t).cos(), 1 + t]), 0.05)
        tensor([2.0000,    nan], dtype=torch.float64)
    """
    before, after = signal[:, :-1], signal[:, 1:]
    changes = (before >= 0) != (after >= 0)
    step = torch.where(changes, before - after, 1.0)
    times = torch.where(changes, dt * (torch.arange(before.shape[1]).to(signal) + before / step), torch.nan)
    count = changes.sum(1)
    first = times.nan_to_num(nan=torch.inf).amin(1)
    last = times.nan_to_num(nan=-torch.inf).amax(1)
    swings = (count >= 2) & signal.isfinite().all(1)
    return torch.where(swings, torch.pi * (count - 1) / (last - first), torch.nan)


def envelope_rate(x: Float[Tensor, "batch n 2"], dt: float) -> Float[Tensor, "batch"]:
    """Rate of the amplitude's envelope: slope of the least-squares line through ½ ln(E + 1) over time.

    Args:
        x: trajectories of a pendulum (θ, θ̇), damped or not.
        dt: sampling interval.

    Returns:
        Per unit of time; about −γ/2 for a small amplitude, 0 without damping.

    Raises:
        ValueError: if a trajectory has fewer than two samples or is at rest, where the logarithm does not exist.

    Example:
        >>> t = torch.arange(0, 40, 0.05, dtype=torch.float64)
        >>> x = 1e-3 * torch.exp(-0.05 * t)[:, None] * torch.stack([t.cos(), -t.sin()], -1)
        >>> envelope_rate(x[None], 0.05)
        tensor([-0.0500], dtype=torch.float64)
    """
    if x.shape[-2] < 2:
        raise ValueError(f"x must hold at least 2 samples a trajectory, got {x.shape[-2]}")
    angle, velocity = x.double().unbind(-1)
    above_rest = 0.5 * velocity**2 + 2 * (angle / 2).sin() ** 2  # E + 1 without cancellation
    if not bool((above_rest > 0).all()):
        raise ValueError("x has a sample at rest (angle 0, velocity 0): its amplitude has no logarithm")
    level = 0.5 * above_rest.log()
    t = dt * torch.arange(x.shape[-2], dtype=torch.float64, device=x.device)
    t = t - t.mean()
    return ((level * t).sum(-1) / (t**2).sum()).to(x)
