"""The regression targets: formulas against their text and, where that is right, against pykan's table."""

import math
from typing import Any

import pytest
import torch

from metakan.functions import DEMOS, FEYNMAN, TargetFunction, feynman, high_dim_exp, target_function

DIMS = {
    "I.6.20a": 1, "I.6.20": 2, "I.6.20b": 3, "I.8.4": 4, "I.9.18": 9, "I.10.7": 3, "I.11.19": 6, "I.12.1": 2,
    "I.12.2": 4, "I.12.4": 3, "I.12.5": 2, "I.12.11": 5, "I.13.4": 4, "I.13.12": 5, "I.14.3": 3, "I.14.4": 2,
    "I.15.3x": 4, "I.15.10": 3,
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_table_has_the_18_formulas_with_their_numbers_of_variables() -> None:
    assert {name: f.dim for name, f in FEYNMAN.items()} == DIMS


@pytest.mark.parametrize("function", [*FEYNMAN.values(), *DEMOS.values()], ids=lambda f: f.name)
def test_function_computes_what_its_expression_says(function: TargetFunction) -> None:
    names: dict[str, Any] = {
        "exp": math.exp,
        "sqrt": math.sqrt,
        "sin": math.sin,
        "pi": math.pi,
        "__builtins__": {},
    }
    x, y = function.sample(50, seeded(), torch.float64)
    code = compile(function.expression, function.name, "eval")
    expected = [eval(code, names | dict(zip(function.variables, row))) for row in x.tolist()]  # noqa: S307
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("function", FEYNMAN.values(), ids=lambda f: f.name)
def test_samples_fill_the_box_and_are_finite(function: TargetFunction) -> None:
    x, y = function.sample(4000, seeded())
    assert torch.isfinite(y).all()
    unit = function.normalise(x)
    assert unit.abs().max() <= 1 + 1e-6
    assert (unit.min(0).values < -0.98).all()
    assert (unit.max(0).values > 0.98).all()


def test_high_dim_exp_at_known_points() -> None:
    f = high_dim_exp(100)
    assert f(torch.zeros(1, 100)).item() == 1
    assert f(torch.ones(1, 100)).item() == pytest.approx(math.e)
    half = torch.cat([torch.ones(1, 50), torch.zeros(1, 50)], 1)
    assert f(half).item() == pytest.approx(math.exp(0.5))


def test_unknown_name_tells_the_close_ones() -> None:
    with pytest.raises(KeyError, match=r"I\.6\.2.*did you mean I\.6\.20"):
        feynman("I.6.2")
    with pytest.raises(KeyError, match=r"known: I\.6\.20a"):
        feynman("zzz")


def test_target_function_knows_every_name_of_a_preset() -> None:
    assert target_function("I.12.5") is FEYNMAN["I.12.5"]
    assert target_function("exp_sin") is DEMOS["exp_sin"]
    assert target_function("high_dim_exp(7)").dim == 7
    with pytest.raises(KeyError):
        target_function("high_dim_exp(many)")
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        high_dim_exp(0)


def test_non_finite_points_are_drawn_again_and_a_box_outside_the_domain_is_an_error() -> None:
    f = TargetFunction("root", "sqrt(x)", ("x",), ((-1.0, 1.0),), torch.sqrt)
    x, y = f.sample(500, seeded())
    assert x.min() >= 0
    assert torch.isfinite(y).all()
    outside = TargetFunction("root", "sqrt(x)", ("x",), ((-2.0, -1.0),), torch.sqrt)
    with pytest.raises(ValueError, match="not finite at 5 of 5 points"):
        outside.sample(5, seeded())


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(n, 2\) for I\.12\.1"):
        feynman("I.12.1")(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="2 variables but a box of 1"):
        TargetFunction("f", "x", ("x", "y"), ((0.0, 1.0),), lambda x, y: x)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEYNMAN)
def test_agrees_with_the_table_of_pykan(name: str) -> None:
    """pykan 0.2.8 is right for these; its I.16.6, Goldstein 12.80, Jackson 2.11 and the doubled I.18.4 are not ours."""
    pytest.importorskip("kan")
    from kan.feynman import get_feynman_dataset

    theirs = get_feynman_dataset(name)[2]
    x, y = feynman(name).sample(200, seeded(), torch.float64)
    torch.testing.assert_close(theirs(x).reshape(-1), y, rtol=1e-7, atol=1e-12)  # its π is a float32
