"""`classify_block` judges operators whose answer is known, and says so where orbits do not tell (T1, T4)."""

import math

import pytest
import torch
from torch import nn

from emergence.blocks import TanhBlock
from emergence.limits.classify import classify_block, steps_die_out
from emergence.limits.evidence import fit_rho, gather_evidence
from emergence.operators import NON_NORMAL, MatrixBlock, ZooEntry, operator_zoo

ZOO = {entry.name: entry for entry in operator_zoo(seed=3)}


@pytest.mark.parametrize("name", sorted(ZOO))
def test_the_zoo_is_labelled(name: str) -> None:
    entry: ZooEntry = ZOO[name]
    report = classify_block(entry.block, entry.start)
    assert report.regime == entry.regime
    assert report.limit_exists == (entry.limit_exists or False)
    assert report.rho == pytest.approx(entry.rho, rel=0.01, abs=1e-4)
    assert report.rho_interval[0] <= report.rho <= report.rho_interval[1]
    assert report.lip_lower <= min(entry.lip, report.lip_upper) * (1 + 1e-6)


def test_powers_of_the_non_normal_matrix_peak_where_the_table_says() -> None:
    a = torch.tensor(NON_NORMAL, dtype=torch.float64)
    norms = [float(torch.linalg.matrix_norm(torch.linalg.matrix_power(a, n), 2)) for n in range(1, 201)]
    assert max(norms) == pytest.approx(38.745923, abs=1e-6)
    assert norms.index(max(norms)) + 1 == 9
    assert norms[49] ** (1 / 50) == pytest.approx(1.021, abs=1e-3)
    assert norms[198] ** (1 / 199) == pytest.approx(0.9355, abs=1e-4)


def test_contraction_is_seen_although_the_constant_is_above_one() -> None:
    block = MatrixBlock(torch.tensor(NON_NORMAL, dtype=torch.float64))
    report = classify_block(block, torch.randn(16, 2, dtype=torch.float64))
    assert report.summary.startswith("contractive (ρ < 1, Lip > 1), limit exists")
    assert report.lip_lower == pytest.approx(10.08, abs=0.01)
    assert report.trivial_limit
    assert not classify_block(block, torch.randn(16, 2, dtype=torch.float64), injected=True).trivial_limit


def test_chaos_of_a_bounded_map_is_expansive() -> None:
    block = TanhBlock(32, 3.0, generator=torch.Generator().manual_seed(0))
    report = classify_block(block, torch.randn(16, 32, dtype=torch.float64))
    assert report.regime == "expansive"
    assert report.rho > 1.1
    assert report.evidence.norms.isfinite().all()


def test_a_critical_tanh_block_is_not_taken_for_a_contraction() -> None:
    # λ = 1 without bias: distances fall as a power of the depth, no rate below 1
    report = classify_block(TanhBlock(16, 1.0), 0.5 * torch.randn(16, 16, dtype=torch.float64), n_steps=128)
    assert report.regime == "critical"


def test_divergence_is_expansive() -> None:
    cubic = classify_block(lambda x: x + x**3, 3 + torch.rand(16, 2, dtype=torch.float64))
    assert (cubic.regime, cubic.limit_exists) == ("expansive", False)
    assert not cubic.evidence.finite
    at_once = classify_block(lambda x: x / 0.0, torch.rand(16, 2, dtype=torch.float64))
    assert (at_once.regime, at_once.rho) == ("expansive", math.inf)


def test_an_upper_bound_below_one_decides() -> None:
    report = classify_block(
        nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double(),
        torch.randn(16, 4, dtype=torch.float64),
        lip_upper=0.99,
    )
    assert report.regime == "contractive"


def test_attention_is_classified_too() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval()
    report = classify_block(layer, torch.randn(16, 4, 8, dtype=torch.float64), n_steps=8, n_points=2)
    assert report.lip_lower > 0.1
    assert math.isinf(report.lip_upper)


@pytest.mark.parametrize("power", [0.0, 1.0, -1.5])
@pytest.mark.parametrize("rho", [0.5, 1.0, 1.1])
def test_the_rate_is_read_through_a_power_of_n(rho: float, power: float) -> None:
    n = (1, 2, 4, 8, 16, 32, 64)
    growth = torch.tensor([1.3 + power * math.log(k) + k * math.log(rho) for k in n], dtype=torch.float64)
    assert float(fit_rho(n, growth)) == pytest.approx(rho, rel=1e-9)


def test_few_powers_and_vanished_growth() -> None:
    assert float(fit_rho((1,), torch.tensor([math.log(0.5)]))) == pytest.approx(0.5)
    assert float(fit_rho((1, 2), torch.tensor([0.0, -math.inf]))) == 0.0


def test_pairs_swallowed_by_rounding_do_not_count() -> None:
    evidence = gather_evidence(lambda x: 0.1 * x + 1, torch.randn(16, 3, dtype=torch.float64), 32)
    pairs = 16 * 15 // 2
    assert torch.isinf(evidence.log_ratios[-1, :pairs]).all()
    assert evidence.log_ratios[-1, pairs:].isfinite().all()


@pytest.mark.parametrize(
    ("power", "expected"), [(-2.0, True), (-0.5, True), (-0.2, None), (0.0, False), (0.5, False)]
)
def test_steps_die_out_or_not(power: float, expected: bool | None) -> None:
    assert steps_die_out(torch.arange(1, 65).double() ** power) is expected


def test_steps_of_zero_have_died_out() -> None:
    assert steps_die_out(torch.zeros(8)) is True


def test_the_report_draws_itself() -> None:
    report = classify_block(nn.Identity(), torch.randn(16, 2, dtype=torch.float64))
    assert report.plot().png.startswith(b"\x89PNG")


X = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("fn", "x", "settings", "message"),
    [
        (nn.Identity(), X[:8], {}, "at least 16 sample"),
        (nn.Identity(), torch.ones(16, 3), {}, "all starts of x coincide"),
        (nn.Linear(3, 2).double(), X, {}, r"maps shape \(16, 3\) to \(16, 2\)"),
        (nn.Identity(), X, {"n_steps": 4}, "n_steps must be at least 8, got 4"),
        (nn.Identity(), X, {"tau": 0.0}, "tau must be finite and above 0"),
        (nn.Identity(), X * float("inf"), {}, "NaN or infinite"),
    ],
)
def test_bad_input_is_refused(fn: nn.Module, x: torch.Tensor, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classify_block(fn, x, **settings)
