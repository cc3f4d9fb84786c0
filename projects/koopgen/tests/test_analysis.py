"""Read-outs of a generator that is known, long roll-outs, the certificate, and the parsimony penalty."""

import math
from collections.abc import Callable

import pytest
import torch

from koopgen.analysis import amplitudes_and_phases, in_float64, long_run, read_out, widened_range
from koopgen.baselines import LRAN, ConstantGenerator, UnstructuredGenerator
from koopgen.model import KoopGen
from koopgen.parsimony import parsimony_penalty

Oscillator = Callable[..., KoopGen]
X = torch.tensor([[1.0, 0.0], [0.3, -2.0], [0.0, 0.5]], dtype=torch.float64)


def test_read_outs_of_a_damped_oscillator_are_its_frequency_and_its_decay(oscillator: Oscillator) -> None:
    found = read_out(oscillator(omega=1.5, gamma=0.25), X)
    torch.testing.assert_close(found.frequencies, torch.full((3, 1), 1.5, dtype=torch.float64))
    torch.testing.assert_close(found.rates, torch.full((3, 2), -0.25, dtype=torch.float64))
    torch.testing.assert_close(found.energy_rate, torch.full((3,), -0.25, dtype=torch.float64))
    torch.testing.assert_close(found.dissipative_share, torch.full((3,), 0.25 / 1.75, dtype=torch.float64))
    torch.testing.assert_close(found.alpha.sum(-1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("dt", [0.05, 0.2])
def test_rates_do_not_depend_on_the_sampling_interval(dt: float, oscillator: Oscillator) -> None:
    found = read_out(oscillator(2.0, 0.1, dt), X)
    assert float(found.frequencies[0, 0]) == pytest.approx(2.0)
    assert float(found.energy_rate[0]) == pytest.approx(-0.1)


def test_the_energy_rate_is_the_growth_of_the_latent_norm() -> None:
    model = KoopGen(3, 6, dt=0.01, m_skew=3, m_self=3, hidden=8).double().eval()
    x = torch.randn(5, 3, dtype=torch.float64)
    z, h = model.encode(x), 1e-6
    growth = (model.step(z, h).norm(dim=-1).log() - z.norm(dim=-1).log()) / h
    torch.testing.assert_close(read_out(model, x).energy_rate, growth, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "model", [ConstantGenerator(3, 4, dt=0.1), UnstructuredGenerator(3, 4, dt=0.1), KoopGen(3, 4, dt=0.1)]
)
def test_every_model_with_a_generator_is_read_in_any_shape(model: KoopGen) -> None:
    found = read_out(model, torch.randn(2, 5, 3))
    assert found.rates.shape == (2, 5, 4)
    assert found.dissipative_share.shape == (2, 5)
    assert ((found.dissipative_share >= 0) & (found.dissipative_share <= 1)).all()


def test_read_outs_carry_no_noise_of_training() -> None:
    model = KoopGen(3, 4, dt=0.1).train()
    x = torch.randn(7, 3)
    assert torch.equal(read_out(model, x).alpha, read_out(model.train(), x).alpha)


def test_phases_and_amplitudes(oscillator: Oscillator) -> None:
    amplitude, phase = amplitudes_and_phases(oscillator(), X)
    torch.testing.assert_close(amplitude[:, 0], X.norm(dim=1))
    torch.testing.assert_close(phase[:, 0], torch.atan2(X[:, 1], X[:, 0]))
    with pytest.raises(ValueError, match="field='complex', got field='real'"):
        amplitudes_and_phases(KoopGen(2, 2, dt=0.1, field="real"), X.float())


def test_models_without_a_generator_are_refused() -> None:
    for read in (read_out, parsimony_penalty):
        with pytest.raises(TypeError, match="LRAN has no generator"):
            read(LRAN(2, 2, dt=0.1), X.float())  # type: ignore[operator]


def test_double_precision_copy_answers_alike_and_leaves_the_model_alone() -> None:
    model = KoopGen(3, 6, dt=0.01, hidden=8)
    copy = in_float64(model)
    assert next(model.parameters()).dtype == torch.float32
    assert copy.config["order"] == 18
    x = torch.randn(4, 3)
    torch.testing.assert_close(copy.forecast(x.double(), 5).float(), model.eval().forecast(x, 5))


# Long roll-outs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dissipation", ["nonpositive", "capped", "free"])
def test_the_certificate_bounds_every_step(dissipation: str) -> None:
    model = KoopGen(
        3, 6, dt=0.05, hidden=8, dissipation=dissipation, cap=0.5 if dissipation == "capped" else None
    )
    run = long_run(model, torch.randn(6, 3), 300, stride=50)
    assert run.holds is not None
    assert run.log_bound is not None
    assert run.holds.all()
    assert run.finite.all()
    assert run.x.shape == (6, 7, 3)
    assert (run.log_bound[:, -1] > run.log_norm[:, -1]).all()  # a bound that something lies under
    if dissipation == "nonpositive":
        assert (run.log_norm.diff(dim=1) < 0).all()


def test_the_certificate_can_be_violated(oscillator: Oscillator) -> None:
    """Negative control: a propagator that adds energy breaks the bound, and the run says so."""
    model = oscillator()
    exact = model.propagate
    model.propagate = lambda G, z, *, tau=1.0: 1.001 * exact(G, z, tau=tau)  # type: ignore[assignment]
    z = model.encode(X)
    assert not model.log_norm_certificate(z, 50).holds.any()
    model.propagate = exact
    assert model.log_norm_certificate(z, 50).holds.all()


def test_an_overflow_is_not_finite_but_no_violation() -> None:
    """A constant growth rate meets its bound exactly until the numbers end; the two are told apart."""
    model = KoopGen(2, 2, dt=0.1, hidden=4, dissipation="free", time_scale=1.0)
    with torch.no_grad():
        model.generator.self_adjoint.free.copy_(torch.tensor([9.0, 0.0]).reshape(2, 1, 1))
    run = long_run(model, X.float(), 1000, stride=100)
    assert not run.finite.any()
    assert run.holds is not None
    assert run.holds.all()


def test_baselines_run_without_a_certificate_and_explosions_are_seen() -> None:
    model = LRAN(2, 2, dt=0.1, hidden=4)
    with torch.no_grad():
        model.operator.copy_(3 * torch.eye(2))
    run = long_run(model, X.float(), 2000, stride=500)
    assert run.holds is None
    assert run.log_bound is None
    assert not run.finite.any()
    assert run.share_within(torch.full((2,), -1e9), torch.full((2,), 1e9)) < 1


def test_range_of_the_data_widened(oscillator: Oscillator) -> None:
    low, high = widened_range(torch.tensor([[[0.0, -1.0]], [[2.0, 3.0]]]), 0.5)
    assert low.tolist() == [-1.0, -3.0]
    assert high.tolist() == [3.0, 5.0]
    for margin in (-0.1, math.nan):
        with pytest.raises(ValueError, match="margin must be at least 0"):
            widened_range(X, margin)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        long_run(oscillator(), X, 5, stride=0)


# Parsimony ------------------------------------------------------------------------------------------------------------


def test_penalty_of_a_known_generator(oscillator: Oscillator) -> None:
    model = oscillator(gamma=0.3, dt=0.2)
    assert float(parsimony_penalty(model, X).detach()) == pytest.approx(0.2 * 0.3 * math.sqrt(2))


def test_penalty_pulls_on_the_self_adjoint_bases_only(oscillator: Oscillator) -> None:
    model = oscillator(gamma=0.3)
    parsimony_penalty(model, X).backward()
    assert model.generator.skew.free.grad is None or not model.generator.skew.free.grad.any()
    gradient = model.generator.self_adjoint.free.grad
    assert gradient is not None
    assert (gradient[:, 0] < 0).all()  # descent raises −γ towards 0
