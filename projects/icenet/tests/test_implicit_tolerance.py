import math

import pytest
import torch

from icenet.implicit.tolerance import ChannelDomain, Fixed, NoiseAware


def test_noisier_slots_get_a_larger_tolerance_within_bounds():
    noise = torch.tensor([1e-6, 1e-3, 1e-1, 10.0])
    eps = NoiseAware(0.1, 1e-3, 1e-1)(noise, 4)
    torch.testing.assert_close(eps, torch.tensor([1e-3, 0.1 * 1e-3**0.5, 0.1 * 0.1**0.5, 1e-1]))


@pytest.mark.parametrize("tolerance", [NoiseAware(0.1), ChannelDomain(0.1)])
def test_the_noise_must_be_known(tolerance):
    with pytest.raises(ValueError, match=f"{type(tolerance).__name__} needs noise_var"):
        tolerance(None, 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Fixed(-1.0), "eps must be finite and not negative, got -1.0"),
        (lambda: Fixed(math.inf), "eps must be finite and not negative, got inf"),
        (lambda: NoiseAware(0.0), "kappa must be finite and above 0, got 0.0"),
        (lambda: NoiseAware(1.0, 1e-1, 1e-2), "0 <= eps_min <= eps_max must hold, got 0.1 and 0.01"),
        (lambda: ChannelDomain(-1.0), "kappa must be finite and above 0, got -1.0"),
    ],
)
def test_bad_strategies_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
