"""The tables of `eq_asisr check`: exact where the claims say so, and not where they do not."""

import pytest
import torch

from eq_asisr.checking import EXACT, angle_table, parts, quarter_turn_table, random_model


@pytest.mark.parametrize("name", ["edsr_liif_eq", "rdn_lte_eq", "swinir_ope_eq"])
def test_equivariant_models_are_exact_and_left_alone(name):
    model = random_model(name, 4, seed=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rows = quarter_turn_table(model)
    assert len(rows[0]) == len(rows[1])
    assert max(error for row in rows[1:] for error in row[1:3]) <= EXACT
    assert 1e-9 < max(row[3] for row in rows[1:]) < 1e-3
    assert model.local_ensemble
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_ordinary_models_are_not():
    rows = quarter_turn_table(random_model("edsr_liif"))
    assert min(error for row in rows[1:] for error in row[1:]) > 1e-3


def test_other_angles_leave_an_error_between_the_quarter_turns():
    rows = angle_table(random_model("edsr_liif_eq", 8))
    errors = {row[0]: row[1:] for row in rows[1:]}
    assert max(*errors["0°"], *errors["90°"]) < 1e-9
    assert min(*errors["45°"], *errors["30°"]) > 1e-3


def test_models_are_the_same_for_the_same_seed():
    one, same, other = (random_model("edsr_ope_eq", seed=seed) for seed in (0, 0, 1))
    first, again, different = (next(m.parameters()) for m in (one, same, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, different)


def test_orders_that_are_no_power_of_two_have_sizes():
    assert random_model("edsr_lte_eq", 12).group.order == 12


@pytest.mark.parametrize("name", ["edsr", "edsr_liif_EQ", "vgg_liif", "edsr_liif_eq_cpu", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="model must be edsr, rdn or swinir"):
        parts(name)
