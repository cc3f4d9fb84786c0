"""C7: rates, P_eff and observed turns on decays that are known."""

import math

import pytest
import torch

from emergence.claims import finite_realisation as c7
from emergence.models import LoopedGPT
from tenfold.claims import Scale


def decay(rate: float, constant: float = 1.0) -> torch.Tensor:
    return constant * rate ** torch.arange(65, dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.79])
def test_a_geometric_decay_is_recovered_and_p_eff_is_what_is_observed(rate: float) -> None:
    law = c7.fit_rate(decay(rate, 2.0))
    assert law.rate == pytest.approx(rate, rel=1e-9)
    assert law.constant == pytest.approx(2.0, rel=1e-9)
    assert law.r2 == pytest.approx(1)
    for eps in (1e-2, 1e-4):
        assert (
            law.turns(eps)
            == c7.observed_turns(decay(rate, 2.0), eps)
            == math.ceil(math.log(2 / eps) / -math.log(rate))
        )


def test_what_does_not_decay_is_not_certified() -> None:
    flat = torch.ones(65, dtype=torch.float64)
    law = c7.fit_rate(flat)
    assert law.r2 < 0.95
    assert law.turns(1e-2) == c7.LIMIT
    assert c7.observed_turns(flat, 1e-2) == 65
    with pytest.raises(ValueError, match="nothing to fit a rate on"):
        c7.fit_rate(decay(1e-4))


def test_distances_are_to_the_limit_and_fall_at_the_certified_rate_or_faster() -> None:
    model = LoopedGPT(11, 9, 8, 2, 1, loops=2, lam=0.6, prelude=1, init_std=0.3)
    found = c7.to_the_limit(model, torch.randint(11, (2, 9)))
    assert found.shape == (65,)
    assert bool((found[2:20] <= 0.6 * found[1:19] * (1 + 1e-6)).all())
    assert model.prelude[0].mlp.up.weight.dtype == torch.float32  # the model itself stays as it was


@pytest.mark.slow
def test_smoke() -> None:
    measured = c7.finite_realisation(Scale.SMOKE, 0)
    assert measured.passed, measured.values
