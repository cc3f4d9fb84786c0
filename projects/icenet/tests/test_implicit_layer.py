import pytest
import torch
from torch import Tensor, nn

from icenet.estimators.cells import ContractiveCell
from icenet.implicit.gradients import parse_gradient
from icenet.implicit.layer import ImplicitLayer
from icenet.implicit.solvers import SolverConfig, solve
from icenet.metrics import saved_tensor_bytes

EXACT = SolverConfig(eps=1e-12, tau=500)
GRADIENTS = ("ift", "jfb", "phantom:5", "unroll")


class TanhCell(nn.Module):
    """F⁺ = tanh(W F) + u with ‖W‖ = `norm`."""

    def __init__(self, size: int, norm: float = 0.7):
        super().__init__()
        weight = torch.randn(size, size, dtype=torch.float64)
        self.weight = nn.Parameter(norm * weight / torch.linalg.matrix_norm(weight, 2))

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        return (z @ self.weight.mT).tanh() + u


def dense_gradients(cell: nn.Module, u: Tensor, z: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """Of θ and u, by w = (I - Jᵀ)⁻¹ g with every entry of J."""
    size = z[0].numel()
    rows = []
    for i in range(len(z)):
        J = torch.autograd.functional.jacobian(lambda x, i=i: cell(x[None], u[i : i + 1])[0], z[i])
        J = J.reshape(size, size)
        rows.append(torch.linalg.solve(torch.eye(size, dtype=z.dtype) - J.T, g[i].flatten()).view_as(z[i]))
    return torch.autograd.grad(cell(z, u), (*cell.parameters(), u), torch.stack(rows))


@pytest.mark.parametrize("adaptive", [None, False])
def test_the_implicit_gradient_is_the_dense_solve(adaptive):
    """§3.6, 2: dim 32, float64, backward tolerance 1e-8."""
    cell = TanhCell(32)
    u, g = (torch.randn(3, 32, dtype=torch.float64) for _ in range(2))
    u.requires_grad_()
    backward = SolverConfig(1e-8, 300, adaptive_batching=adaptive)
    z, _ = ImplicitLayer(cell, EXACT, "ift", backward)(u)
    found = torch.autograd.grad(z, (cell.weight, u), g)
    for a, b in zip(found, dense_gradients(cell, u, z.detach(), g)):
        assert (a - b).abs().max() <= 1e-6


def test_the_adjoint_of_the_contractive_cell_is_the_dense_solve():
    """Its Jᵀ is written out and drops samples; the gradient of every parameter is compared."""
    cell = ContractiveCell(2, (3, 5)).double().train()
    u, g = (torch.randn(4, 2, 3, 5, dtype=torch.float64) for _ in range(2))
    u = (u * torch.tensor([0.1, 1.0, 3.0, 10.0])[:, None, None, None]).requires_grad_()
    layer = ImplicitLayer(cell, EXACT, "ift", SolverConfig(1e-10, 300))
    z, _ = layer(u)
    found = torch.autograd.grad(z, (*cell.parameters(), u), g)
    for a, b in zip(found, dense_gradients(cell, u, z.detach(), g)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)
    assert layer.adjoint is not None
    assert layer.adjoint.evaluations == int(layer.adjoint.nfe.sum()) < 4 * layer.adjoint.iterations


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale):
    """A mean over a large batch makes tiny gradients, to which an absolute tolerance would be blind."""
    cell = TanhCell(16)
    u, g = (torch.randn(2, 16, dtype=torch.float64) for _ in range(2))
    z, _ = (layer := ImplicitLayer(cell, EXACT, "ift", SolverConfig(1e-8, 200)))(u)
    (found,) = torch.autograd.grad(z, (cell.weight,), scale * g)
    expected = dense_gradients(cell, u.requires_grad_(), z.detach(), g)[0]
    torch.testing.assert_close(found / scale, expected, rtol=1e-6, atol=1e-8)
    assert layer.adjoint is not None
    assert layer.adjoint.converged.all()


def test_a_sample_without_gradient_gets_none():
    cell = TanhCell(8)
    u = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    z, _ = ImplicitLayer(cell, EXACT)(u)
    z[1].sum().backward()
    assert u.grad is not None
    assert u.grad[[0, 2]].eq(0).all()
    assert u.grad[1].ne(0).all()


def test_the_cheap_gradients_approach_the_exact_one():
    """One-step < 4 damped steps < 30 damped steps in closeness, and unrolling is exact in the limit."""
    cell = TanhCell(12, norm=0.8)
    u, g = (torch.randn(4, 12, dtype=torch.float64) for _ in range(2))

    def gradient(name: str) -> Tensor:
        z, _ = ImplicitLayer(cell, SolverConfig(1e-12, 400), name, SolverConfig(1e-10, 300))(u)
        return torch.autograd.grad(z, cell.weight, g)[0]

    exact = gradient("ift")
    errors = [
        float((gradient(name) - exact).norm() / exact.norm()) for name in ("jfb", "phantom:4", "phantom:30")
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-2 < errors[0]
    torch.testing.assert_close(gradient("unroll"), exact, rtol=0, atol=1e-8)


def test_jfb_is_the_gradient_with_the_fixed_point_held():
    cell = TanhCell(6)
    u, g = (torch.randn(2, 6, dtype=torch.float64) for _ in range(2))
    z, result = ImplicitLayer(cell, EXACT, "jfb")(u)
    (found,) = torch.autograd.grad(z, cell.weight, g)
    (expected,) = torch.autograd.grad(cell(result.z, u), cell.weight, g)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("grad", GRADIENTS)
@pytest.mark.parametrize("training", [True, False])
def test_the_output_carries_a_gradient_whatever_the_mode(grad, training):
    """Another package gave an output without gradient in evaluation mode."""
    cell = TanhCell(5)
    layer = ImplicitLayer(cell, grad=grad).train(training)
    z, _ = layer(torch.randn(2, 5, dtype=torch.float64))
    z.sum().backward()
    assert cell.weight.grad is not None
    assert cell.weight.grad.isfinite().all()
    with torch.no_grad():
        assert not layer(torch.randn(2, 5, dtype=torch.float64))[0].requires_grad


@pytest.mark.parametrize("grad", GRADIENTS)
def test_training_and_evaluation_give_the_same_point(grad):
    layer = ImplicitLayer(TanhCell(5), SolverConfig(1e-9, 200), grad)
    u = torch.randn(3, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(u)[0]
    torch.testing.assert_close(layer(u)[0], expected, rtol=0, atol=1e-7)


def test_unrolled_samples_stand_still_after_their_first_hit():
    cell = TanhCell(5, 0.9)
    u = torch.randn(6, 5, dtype=torch.float64) * torch.logspace(-2, 1, 6, dtype=torch.float64)[:, None]
    layer = ImplicitLayer(cell, SolverConfig(1e-4, 300, method="fixed_point"), "unroll")
    together, result = layer(u)
    assert len(set(result.nfe.tolist())) > 2
    plain = solve(lambda z: cell(z, u), torch.zeros_like(u), layer.config)
    assert torch.equal(result.nfe, plain.nfe)
    torch.testing.assert_close(together, plain.z, rtol=0, atol=1e-12)


def test_memory_does_not_grow_with_the_cap():
    """§3.6, 4: tensors saved for the backward pass at τ = 5 and at τ = 50."""
    u = torch.randn(2, 4, 4, 6)

    def saved(grad: str, tau: int) -> int:
        layer = ImplicitLayer(ContractiveCell(4, (4, 6)), SolverConfig(0.0, tau), grad)

        def step() -> Tensor:
            return layer(u)[0].sum()

        return saved_tensor_bytes(step, list(layer.parameters()))

    for grad in ("ift", "jfb", "phantom:3"):
        assert saved(grad, 50) == saved(grad, 5) > 0
    assert saved("unroll", 50) > 5 * saved("unroll", 5)


def test_the_start_and_the_tolerance_can_be_given():
    cell = TanhCell(5)
    layer = ImplicitLayer(cell, SolverConfig(1e-6, 100))
    u = torch.randn(2, 5, dtype=torch.float64)
    with torch.no_grad():
        z, cold = layer(u)
        _, warm = layer(u, z0=z)
        _, coarse = layer(u, eps=1e-1)
        _, short = layer(u, tau=2)
    assert (warm.nfe == 1).all()
    assert (coarse.nfe < cold.nfe).all()
    assert short.nfe.tolist() == [2, 2]


@pytest.mark.parametrize("grad", ["", "phantom", "phantom:0", "phantom:x", "ift:2", "bptt"])
def test_unknown_gradients_are_named(grad):
    with pytest.raises(ValueError, match="grad must be 'ift', 'jfb', 'phantom:k'"):
        ImplicitLayer(TanhCell(2), grad=grad)
    assert parse_gradient("phantom:7") == ("phantom", 7)


# torchdeq as referee -----------------------------------------------------------------------------------------------------


def test_torchdeq_finds_the_same_point_in_the_same_steps():
    pytest.importorskip("torchdeq", reason="the extra icenet[torchdeq] is not installed")
    cell = TanhCell(20)
    u = torch.randn(5, 20, dtype=torch.float64)
    f = lambda z: cell(z, u)  # noqa: E731
    for method in ("anderson", "fixed_point"):
        config = SolverConfig(1e-6, 60, method=method, ridge="absolute", adaptive_batching=False)
        with torch.no_grad():
            ours = solve(f, torch.zeros_like(u), config)
            theirs = solve(f, torch.zeros_like(u), SolverConfig(**{**vars(config), "backend": "torchdeq"}))
        assert (ours.nfe - theirs.nfe).abs().max() <= 1  # they add 1e-9 where we add 1e-5
        torch.testing.assert_close(ours.z, theirs.z, rtol=0, atol=2e-5)
        known = (
            theirs.trace.isfinite()
            & ours.trace[:, : theirs.trace.shape[1]].isfinite()[:, : theirs.trace.shape[1]]
            if ours.trace.shape == theirs.trace.shape
            else None
        )
        if known is not None:
            torch.testing.assert_close(ours.trace[known], theirs.trace[known], rtol=1e-3, atol=1e-9)


def test_torchdeq_gives_the_same_gradients():
    """Equal to 1e-4 of the largest, as the cell of the model is used: float32, tolerance and cap alike."""
    torchdeq = pytest.importorskip("torchdeq", reason="the extra icenet[torchdeq] is not installed")
    cell = ContractiveCell(4, (4, 6))
    u, g = torch.randn(2, 3, 4, 4, 6).unbind(0)
    u.requires_grad_()
    config = SolverConfig(1e-6, 60, ridge="absolute")
    z, _ = ImplicitLayer(cell, config, "ift", SolverConfig(1e-6, 60))(u)
    ours = torch.autograd.grad(z, (*cell.parameters(), u), g)
    peer = torchdeq.get_deq(
        f_solver="anderson", b_solver="fixed_point_iter", f_max_iter=60, b_max_iter=100, f_tol=1e-6, b_tol=1e-7,
        f_stop_mode="rel", b_stop_mode="rel", ift=True,
    )  # fmt: skip
    peer.train()
    (theirs_z, *_), _ = peer(cell.bind(u), torch.zeros_like(u))
    theirs = torch.autograd.grad(theirs_z, (*cell.parameters(), u), g)
    torch.testing.assert_close(z, theirs_z, rtol=0, atol=1e-4)
    for a, b in zip(ours, theirs):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def test_a_missing_torchdeq_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"install icenet\[torchdeq\]"):
        solve(torch.cos, torch.zeros(1, 1), SolverConfig(backend="torchdeq"))
