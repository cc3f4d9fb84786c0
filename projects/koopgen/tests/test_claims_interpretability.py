"""K6: what it measures is right on flows that are known, its conditions can fail, and its smoke scale runs."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from koopgen.claims import interpretability
from koopgen.claims.interpretability import (
    EFFORTS,
    Damped,
    conditions_of,
    damped_sets,
    inconsistency,
    lobe_rotation,
    phase_space_share,
    split_is_meaningful,
    turning,
)
from koopgen.claims.pictures import phase_space
from koopgen.claims.samples import Sizes
from koopgen.model import KoopGen
from koopgen.oscillations import pendulum_energy
from tenfold.claims import Scale

Oscillator = Callable[..., KoopGen]
TURNS = {"left": (-2.0, -4.0), "right": (2.0, 4.0)}
GOOD = Damped(-0.05, -0.048)


def test_all_conditions_hold_for_a_split_that_is_meaningful() -> None:
    assert all(conditions_of(0.01, GOOD, TURNS).values())


@pytest.mark.parametrize(
    ("share", "damped", "lobes", "broken"),
    [
        (0.05, GOOD, TURNS, "dissipative_share"),
        (math.nan, GOOD, TURNS, "dissipative_share"),
        (0.01, Damped(0.05, -0.048), TURNS, "rate_negative"),
        (0.01, Damped(-0.06, -0.048), TURNS, "within_20_percent"),
        (0.01, Damped(math.nan, -0.048), TURNS, "within_20_percent"),
        (0.01, GOOD, TURNS | {"left": (2.0, -4.0)}, "both_lobes"),
        (0.01, GOOD, TURNS | {"right": (math.nan, 4.0)}, "both_lobes"),
    ],
)
def test_every_condition_can_fail(share: float, damped: Damped, lobes: Any, broken: str) -> None:
    failed = [name for name, holds in conditions_of(share, damped, lobes).items() if not holds]
    assert any(broken in name for name in failed)


def test_turning_is_the_angular_velocity_about_the_centre() -> None:
    arm = torch.randn(50, 3)
    swirl = torch.stack([-arm[:, 2], torch.randn(50), arm[:, 0]], 1)  # in the plane (x, z), whatever y does
    assert turning(arm, 3 * swirl) == pytest.approx(3.0, rel=1e-5)
    assert turning(arm, arm) == pytest.approx(0.0, abs=1e-6)


def test_the_true_flow_turns_about_both_lobes_in_opposite_senses() -> None:
    from koopgen.systems import get_system

    x = get_system("lorenz63").generate(20, 100, seed=0).x
    found = lobe_rotation(KoopGen(3, 6, dt=0.01, hidden=8), x)
    assert found["left"][1] < -1
    assert found["right"][1] > 1
    assert all(math.isfinite(ours) for ours, _ in found.values())


def test_phase_space_lies_below_the_energy_cap_without_rest() -> None:
    points = phase_space(41)
    assert (pendulum_energy(points) <= 0.99).all()
    assert (points.norm(dim=1) > 0).all()
    assert points[:, 0].max() > 2.5
    assert len(points) > 500


def test_share_of_a_known_generator(oscillator: Oscillator) -> None:
    assert phase_space_share(oscillator(omega=1.0, gamma=0.25)) == pytest.approx(0.2)
    assert phase_space_share(oscillator(omega=1.0, gamma=0.0)) == pytest.approx(0.0)


def test_inconsistent_read_outs_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KoopGen(2, 2, dt=0.1, hidden=4)
    assert inconsistency(model, phase_space(7)) < 1e-12
    true_velocity = KoopGen.velocity
    monkeypatch.setattr(KoopGen, "velocity", lambda self, z: 1.01 * true_velocity(self, z))
    assert inconsistency(model, phase_space(7)) > 1e-4


def test_damped_trajectories_are_sampled_every_fifth_of_a_unit_and_drawn_apart() -> None:
    sets = damped_sets(Sizes(3, 5, 2, 4, 2, 6), seed=1)
    assert sets.dt == pytest.approx(0.2)
    assert [tuple(part.shape) for part in sets[:3]] == [(3, 6, 2), (2, 5, 2), (2, 7, 2)]
    assert not torch.equal(sets.train[0, 0], sets.test[0, 0])
    assert (pendulum_energy(sets.train)[:, -1] < pendulum_energy(sets.train)[:, 0]).all()


def test_every_path_runs_and_judges_at_small_sizes() -> None:
    effort = EFFORTS[Scale.SMOKE]
    small = replace(
        effort,
        recipe=replace(effort.recipe, steps=2, pretrain_steps=2),
        lorenz_recipe=replace(effort.lorenz_recipe, steps=2, pretrain_steps=2),
    )
    measurement = interpretability.measure(small, 0, torch.device("cpu"), judged=True)
    assert not measurement.passed  # two steps learn nothing
    assert [figure.name for figure in measurement.figures] == [
        "pendulum-fields", "damped-pendulum-fields", "lorenz-maps", "lorenz-fields",
    ]  # fmt: skip
    assert [row[0] for row in measurement.tables[0].rows] == [
        "KoopGen, skew only", "KoopGen, self-adjoint only", "KoopGen, both parts", "Unstructured",
    ]  # fmt: skip


@pytest.mark.slow
def test_smoke_scale_holds() -> None:
    assert split_is_meaningful(Scale.SMOKE, 0).passed
