"""Frequencies and decay rates of true pendulums against the known answers, and what is refused."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from koopgen.oscillations import envelope_rate, pendulum_energy, pendulum_frequency, swing_frequency
from koopgen.systems import get_system


def swing(angles: list[float], steps: int = 800, damping: float = 0.0) -> Tensor:
    """Pendulums released at rest, sampled every 0.05."""
    system = get_system("damped_pendulum", damping=damping)
    return torch.from_numpy(system.trajectory(np.array([[angle, 0.0] for angle in angles]), steps))


def test_frequencies_of_true_swings_follow_the_elliptic_integral() -> None:
    x = swing([0.1, 1.0, 2.0, 3.0])
    measured = swing_frequency(x[..., 0], 0.05)
    exact = pendulum_frequency(pendulum_energy(x[:, 0]))
    torch.testing.assert_close(measured, exact, rtol=2e-5, atol=0)
    assert exact[0] > 1.5 * exact[3]  # a test that a constant frequency fails


def test_law_near_rest_and_its_domain() -> None:
    small = torch.tensor(1e-3, dtype=torch.float64)  # ω ≈ 1 − θ²/16
    assert float(pendulum_frequency(-small.cos())) == pytest.approx(1 - 1e-6 / 16, abs=1e-10)
    for energy in (-1.1, 1.0):
        with pytest.raises(ValueError, match="energy must lie in"):
            pendulum_frequency(torch.tensor([0.0, energy]))


def test_energy_needs_angle_and_velocity() -> None:
    assert float(pendulum_energy(torch.tensor([0.0, 2.0]))) == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"must end in \(angle, velocity\), got 3"):
        pendulum_energy(torch.zeros(4, 3))


def test_a_signal_that_does_not_swing_has_no_frequency() -> None:
    t = torch.arange(0, 10, 0.1)
    rows = torch.stack([t.cos(), 1 + t, (t - 5), torch.where(t > 9, torch.nan, t.cos())])
    found = swing_frequency(rows, 0.1)
    assert float(found[0]) == pytest.approx(1.0, rel=1e-3)
    assert found[1:].isnan().all()


def test_a_change_of_sign_at_a_sample_counts_once() -> None:
    row = torch.tensor([[1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0]])
    assert float(swing_frequency(row, 1.0)[0]) == pytest.approx(math.pi / 2, rel=1e-6)


@pytest.mark.parametrize("damping", [0.0, 0.1, 0.3])
def test_envelope_of_a_small_damped_swing_decays_at_half_the_damping(damping: float) -> None:
    rate = envelope_rate(swing([1e-3], damping=damping), 0.05)
    assert float(rate[0]) == pytest.approx(-damping / 2, rel=0.01, abs=1e-9)


def test_envelope_refuses_rest_and_single_samples() -> None:
    with pytest.raises(ValueError, match="at rest"):
        envelope_rate(torch.zeros(1, 5, 2), 0.1)
    with pytest.raises(ValueError, match="at least 2 samples a trajectory, got 1"):
        envelope_rate(torch.ones(1, 1, 2), 0.1)
