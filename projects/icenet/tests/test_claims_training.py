"""What the claims share: streams of slots, one training loop, one search of rates."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from icenet.claims.networks import explicit, plain_objective
from icenet.claims.setting import V2X, Stream, draw_tests
from icenet.claims.training import (
    Contender,
    Recipe,
    contest,
    seeded,
    train,
)
from icenet.estimators.base import NetworkEstimator
from icenet.estimators.reesnet import ReEsNetBilinear

CPU = torch.device("cpu")


# Slots -------------------------------------------------------------------------------------------------------------------


def test_a_stream_gives_fresh_slots_and_the_same_ones_for_the_same_seed() -> None:
    first, again = Stream(V2X, 3, 5), Stream(V2X, 3, 5)
    a, b = first(), first()
    assert torch.equal(a.ls, again().ls)
    assert not torch.equal(a.h, b.h)
    assert not torch.equal(a.h, Stream(V2X, 3, 6)().h)
    assert ((a.snr_db >= 0) & (a.snr_db <= 25)).all()


def test_tests_at_all_ratios_share_channels_and_noise_but_for_its_strength() -> None:
    tests = draw_tests(V2X, 4, 0, (0.0, 20.0))
    low, high = tests[0.0], tests[20.0]
    assert torch.equal(low.h, high.h)
    k, s = V2X.config.pilots.coordinates()
    noise = [slots.ls - slots.h[:, k, s] for slots in (low, high)]
    torch.testing.assert_close(noise[0], 10 * noise[1], rtol=1e-4, atol=1e-5)


def test_settings_move_to_other_profiles_and_frequencies() -> None:
    assert V2X.at_doppler(1400.0).simulator().slots(2, 0.0).doppler_hz.tolist() == [1400.0, 1400.0]
    assert V2X.moved("C2C").fixes_doppler
    assert not V2X.fixes_doppler
    assert V2X.moved("C2C").simulator().slots(2, 0.0).h.shape == (2, 72, 14)
    assert V2X.moved("TDL-A", 100.0).simulator().slots(2, 0.0).delay_spread_ns.tolist() == pytest.approx(
        [100.0] * 2, rel=1e-3
    )


# Training ----------------------------------------------------------------------------------------------------------------


def small() -> NetworkEstimator:
    return ReEsNetBilinear("nr_v2x_15", channels=2, blocks=1)


def test_training_draws_nothing_from_the_global_random_state() -> None:
    def run() -> tuple[float, ...]:
        model = seeded(0, small)
        return train(model, Stream(V2X, 4, 0), Recipe(3), 1e-3, 3, plain_objective, 0).losses

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert run() == first


def test_a_contest_chooses_the_lowest_score_and_the_search_leaves_no_trace() -> None:
    recipe = Recipe(8, batch_size=4, rates=(1e-6, 1e-2))
    tried: list[Tensor] = []

    def score(model: NetworkEstimator) -> float:
        tried.append(next(model.parameters()).detach().clone())
        return -float(len(tried))  # the later, the better

    outcome = contest(explicit("any", small), V2X, recipe, 0, CPU, score)
    assert (outcome.rate, outcome.scores) == (1e-2, (-1.0, -2.0))
    assert len(outcome.training.losses) == 8
    assert not torch.equal(tried[0], tried[1])
    alone = contest(explicit("any", small), V2X, replace(recipe, rates=(1e-2,)), 0, CPU, None)
    assert alone.training.losses == outcome.training.losses
    with pytest.raises(ValueError, match="any has 2 candidate rates and no score to choose by"):
        contest(explicit("any", small), V2X, recipe, 0, CPU, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_a_training_and_fails_a_trial(bad: float) -> None:
    recipe = Recipe(5, batch_size=4, rates=(1e-3, 1e-2))
    contender = Contender("any", small, lambda model, slots: bad * plain_objective(model, slots))
    outcome = contest(contender, V2X, recipe, 0, CPU, lambda model: 0.0)
    assert outcome.training.failure == "the loss is not finite at step 0"
    assert outcome.scores == (math.inf, math.inf)
    assert outcome.training.last == math.inf
    assert all(p.isfinite().all() for p in outcome.model.parameters())


def test_the_rate_follows_a_cosine() -> None:
    recipe = Recipe(100)
    assert recipe.rate_share(0, 100) == 1
    assert recipe.rate_share(50, 100) == pytest.approx((1 + 0.01) / 2)
    assert recipe.rate_share(100, 100) == pytest.approx(0.01)
    assert recipe.search_steps == 25
