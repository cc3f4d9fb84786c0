"""KoopGen's propagator, training step and data against what a user would take otherwise.

    uv run pytest benchmarks/speed/test_koopgen.py -n0 --benchmark-enable

Everything on one thread in float32, unless said otherwise.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from koopgen import CartesianGenerator, build_model, expm_step, get_system, taylor_step
from koopgen.model import default_time_scale

BATCH, BASES, WINDOW = 128, 16, 30


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generators(d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Generators times Δt, and states, of a gate that has left its uniform start, as in training."""
    torch.manual_seed(0)
    module = CartesianGenerator(d, BASES, BASES, scale=default_time_scale(1.0, BASES)).eval()
    z = torch.randn(BATCH, d)
    with torch.no_grad():
        for parameter in module.gate.parameters():
            parameter.normal_(0, 0.3)
        return module(z).requires_grad_(), z.requires_grad_()


@pytest.mark.parametrize(("d", "factor"), [(32, 7), (64, 10)])
def test_taylor_against_matrix_exp(versus, d, factor):
    """Forward and backward of exp(Δt G) z; equal results are asserted first."""
    G, z = generators(d)
    weights = torch.randn(BATCH, d)

    def run(step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        y = step(G, z)
        torch.autograd.grad((y * weights).sum(), (G, z))
        return y

    assert (run(taylor_step) - run(expm_step)).abs().max() <= 1e-5 * z.detach().abs().max()
    ratio = versus(
        partial(run, taylor_step), partial(run, expm_step),
        rounds=15, peer="torch.matrix_exp", d=d, batch=BATCH, norm=round(float(torch.linalg.matrix_norm(G.detach(), 2).max()), 2),
        threads=1, limit=1 / factor,
    )  # fmt: skip
    assert ratio.ratio <= 1 / factor


def training_step(name: str, hidden: int, device: str = "cpu", **options: int) -> Callable[[], None]:
    """One step on a window as the module takes it: encode all samples, roll out from the first, decode, AdamW."""
    torch.manual_seed(0)
    model = build_model(name, 64, 32, dt=1.0, hidden=hidden, layers=4, **options).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.randn(BATCH, WINDOW, 64, device=device)

    def step() -> None:
        optimizer.zero_grad()
        z = model.encoder(x)
        rolled = model.rollout(z[:, 0], WINDOW - 1)
        loss = (model.decoder(rolled) - x).square().mean() + (rolled - z).square().mean()
        loss.backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("hidden", [256, 1024])
def test_training_step_against_lran(versus, hidden):
    """n_x = 64, d = 32, 16 + 16 bases, T = 30, batch 128; `hidden` of encoder, decoder and gate (§4: 1024)."""
    ratio = versus(
        training_step("koopgen", hidden, m_skew=BASES, m_self=BASES), training_step("lran", hidden),
        rounds=5 if hidden > 256 else 15, warmup=1, peer="LRAN", d=32, bases=2 * BASES, window=WINDOW, batch=BATCH, hidden=hidden,
        threads=1, limit=2.0,
    )  # fmt: skip
    assert ratio.ratio <= 2


@pytest.mark.gpu
@pytest.mark.parametrize("hidden", [256, 1024])
def test_cuda_training_step_against_lran(versus, hidden):
    """The same on the GPU."""
    ratio = versus(
        training_step("koopgen", hidden, "cuda", m_skew=BASES, m_self=BASES), training_step("lran", hidden, "cuda"),
        rounds=20, peer="LRAN", d=32, bases=2 * BASES, window=WINDOW, batch=BATCH, hidden=hidden, device="cuda", limit=2.0,
    )  # fmt: skip
    assert ratio.ratio <= 2


def test_lorenz96_against_scipy(versus):
    """One block of the generator, 204 trajectories of one time unit, float64; 20,000 trajectories are 99 such blocks.

    scipy gets the method and the loosest tolerance that reach our accuracy with the fewest evaluations.
    """
    system, samples = get_system("lorenz96"), 20
    n = 8192 // system.n_x
    x0 = system.advance(system.sample_initial(n, np.random.default_rng(0)), 5.0)
    times = system.dt * np.arange(samples + 1)

    def peer(method: str, rtol: float, count: int = n) -> tuple[np.ndarray, int]:
        runs = [
            solve_ivp(lambda t, x: system.rhs(x), (0, times[-1]), x, method, times, rtol=rtol, atol=rtol)
            for x in x0[:count]
        ]
        return np.stack([run.y.T for run in runs]), sum(run.nfev for run in runs)

    few = 5
    exact, _ = peer("DOP853", 1e-12, few)
    error = lambda x: np.abs(x[:few, -1] - exact[:, -1]).mean()  # noqa: E731
    ours = error(system.trajectory(x0, samples))
    candidates = []
    for method in ("RK45", "DOP853"):
        for rtol in 10.0 ** -np.arange(3, 10, 0.5):
            x, evaluations = peer(method, rtol, few)
            if error(x) <= ours:
                candidates.append((evaluations, method, rtol))
                break
    _, method, rtol = min(candidates)
    ratio = versus(
        lambda: system.trajectory(x0, samples), lambda: peer(method, rtol),
        rounds=5, warmup=1, peer=f"scipy solve_ivp, {method}, rtol {rtol:.1e}", trajectories=n, dimension=system.n_x, time=1.0,
        mean_error=float(ours), threads=1, limit=1 / 20,
    )  # fmt: skip
    assert ratio.ratio <= 1 / 20
