import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icenet.estimators.cells import ContractiveCell, OperatorNormConv, ResNetCell, make_cell, transpose_kernel
from icenet.implicit.solvers import SolverConfig, solve

GRID = (4, 7)


def operator(weight: Tensor, grid: tuple[int, int] = GRID) -> Tensor:
    """The convolution as a dense matrix."""
    size = weight.shape[1] * grid[0] * grid[1]
    basis = torch.eye(size, dtype=weight.dtype).view(size, -1, *grid)
    return F.conv2d(basis, weight, padding=1).flatten(1).T


def test_the_transposed_kernel_transposes_the_operator():
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(operator(transpose_kernel(weight)), operator(weight).T)


@pytest.mark.parametrize("channels", [2, 5])
def test_the_norm_is_that_of_the_operator_not_of_the_reshaped_weight(channels):
    conv = OperatorNormConv(channels, GRID).double()
    nn.init.normal_(conv.weight)
    scaled = conv.eval().scaled_weight()
    norm = torch.linalg.matrix_norm(operator(scaled), 2)
    assert 0.97 < norm <= 1
    # the usual spectral normalisation leaves operators of norm well above 1
    usual = conv.weight / torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
    assert torch.linalg.matrix_norm(operator(usual), 2) > 1.3


def test_small_weights_are_left_as_they_are():
    conv = OperatorNormConv(3, GRID)
    with torch.no_grad():
        conv.weight.mul_(0.1 / torch.linalg.matrix_norm(operator(conv.weight), 2))
    torch.testing.assert_close(conv.scaled_weight(), conv.weight, rtol=0, atol=0)


def test_the_norm_stays_below_one_while_the_weights_are_trained():
    conv = OperatorNormConv(4, GRID)
    optimizer = torch.optim.Adam(conv.parameters(), lr=2e-3)
    x = torch.randn(8, 4, *GRID)
    for _ in range(60):
        optimizer.zero_grad()
        (F.conv2d(x, conv.scaled_weight(), padding=1) - 3 * x).square().mean().backward()
        optimizer.step()
        assert torch.linalg.matrix_norm(operator(conv.scaled_weight().detach()), 2) <= 1
    conv.eval()
    assert torch.linalg.matrix_norm(operator(conv.scaled_weight().detach()), 2) <= 1


def test_the_state_moves_once_per_optimiser_step_and_not_in_a_solve():
    """Else f would change between the evaluations of one solve."""
    cell = ContractiveCell(3, GRID).train()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    u = torch.randn(2, 3, *GRID)
    state = lambda: torch.cat([b.flatten() for b in cell.buffers()]).clone()  # noqa: E731
    first = state()
    for _ in range(3):
        solve(cell.bind(u), torch.zeros_like(u))
        assert torch.equal(state(), first)
    cell(u, u).square().sum().backward()
    optimizer.step()
    assert torch.equal(state(), first)
    cell.bind(u)
    second = state()
    assert not torch.equal(second, first)
    cell.bind(u)
    assert torch.equal(state(), second)


@pytest.mark.parametrize("stale", [False, True])
def test_a_loaded_convolution_goes_on_where_the_saved_one_was(stale):
    conv = OperatorNormConv(3, GRID).train()
    with torch.no_grad():
        conv.weight.mul_(1.2).add_(0.1 * torch.randn_like(conv.weight))
    if not stale:
        conv.scaled_weight()
    other = OperatorNormConv(3, GRID).train()
    other.load_state_dict(conv.state_dict())
    assert torch.equal(other.scaled_weight(), conv.scaled_weight())
    assert torch.equal(other.right, conv.right)


def test_evaluation_does_not_change_the_state():
    cell = ContractiveCell(3, GRID).eval()
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    with torch.no_grad():
        cell.conv1.weight.mul_(1.5)
        cell.bind(torch.randn(1, 3, *GRID))
    assert torch.equal(cell.conv1.right, before["conv1.right"])


@pytest.mark.parametrize("a", [-3.0, 0.0, 4.0])
def test_the_contractive_cell_contracts_by_gamma(a):
    """§3.6, 1."""
    cell = ContractiveCell(4, GRID).double()
    with torch.no_grad():
        cell.a.fill_(a)
        cell.bias.normal_()
    u, x, y = torch.randn(3, 50, 4, *GRID, dtype=torch.float64).unbind(0)
    y = torch.where(torch.arange(50)[:, None, None, None] % 2 == 0, y, x + 1e-3 * y)
    ratio = (cell(x, u) - cell(y, u)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert (ratio <= cell.gamma).all()
    assert float(cell.gamma.detach()) == pytest.approx(1 / (1 + math.exp(-a - 2)))


def test_plain_iteration_obeys_banachs_bound():
    """§3.6, 1: residuals fall at least like γ^k and the error is below γⁿ/(1-γ) ‖F_1 - F_0‖."""
    cell = ContractiveCell(3, GRID, gamma=0.8).double()
    u = torch.randn(2, 3, *GRID, dtype=torch.float64)
    f = cell.bind(u)
    exact = solve(f, torch.zeros_like(u), SolverConfig(1e-13, 500, method="fixed_point")).z
    z, first = torch.zeros_like(u), f(torch.zeros_like(u)).flatten(1).norm(dim=1)
    size = first
    for n in range(1, 25):
        z_next = f(z)
        step = (z_next - z).flatten(1).norm(dim=1)
        assert (step <= 0.8 ** (n - 1) * first * (1 + 1e-12)).all()
        z, size = z_next, step
        assert ((z - exact).flatten(1).norm(dim=1) <= 0.8**n / 0.2 * first + 1e-12).all()
    assert (size < first).all()


@pytest.mark.parametrize("kind", ["contractive", "resnet"])
def test_samples_do_not_see_each_other(kind):
    """Batch normalisation would mix them."""
    cell = make_cell(kind, 4, GRID).train()
    z, u = torch.randn(2, 5, 4, *GRID).unbind(0)
    rows = torch.tensor([3, 1])
    whole = cell.bind(u)(z)[rows]
    torch.testing.assert_close(cell.bind(u).select(rows)(z[rows]), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(cell(z, u)[rows], whole)


def test_the_written_out_adjoint_is_the_transposed_jacobian():
    cell = ContractiveCell(2, GRID).double()
    u, z, v = torch.randn(3, 2, 2, *GRID, dtype=torch.float64).unbind(0)
    _, adjoint = cell.bind(u).linearise(z)
    z.requires_grad_()
    (expected,) = torch.autograd.grad(cell(z, u), z, v)
    torch.testing.assert_close(adjoint(v), expected)
    rows = torch.tensor([1])
    torch.testing.assert_close(adjoint.select(rows)(v[rows]), expected[rows])


def test_the_resnet_cell_is_the_formula():
    cell = ResNetCell(8, GRID, groups=2)
    z, u = torch.randn(2, 3, 8, *GRID).unbind(0)
    group = lambda x: F.group_norm(x, 2)  # noqa: E731
    y = group(F.conv2d(z, cell.conv1.weight, padding=1).relu())
    expected = group((z + group(u + F.conv2d(y, cell.conv2.weight, padding=1))).relu())
    torch.testing.assert_close(cell(z, u), expected)
    assert abs(float(cell.conv1.weight.detach().std()) - 0.01) < 0.002


def test_two_convolutions_are_counted():
    assert ContractiveCell(16, (4, 36)).macs_per_evaluation == 18 * 256 * 144  # 0.66 million (§4.5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_cell("dense", 4, GRID), "cell must be one of 'contractive', 'resnet', got 'dense'"),
        (lambda: ContractiveCell(0, GRID), "channels must be at least 1, got 0"),
        (lambda: ContractiveCell(2, GRID, gamma=1.0), r"gamma must be in \(0, 1\), got 1.0"),
        (lambda: ResNetCell(6, GRID, groups=4), "channels must be a multiple of groups, got 6 and 4"),
        (lambda: ResNetCell(4, GRID, init_std=0), "init_std must be above 0, got 0"),
        (lambda: ContractiveCell(2, GRID).bind(torch.zeros(1, 2, 4, 8)), r"u must have shape \(b, 2, 4, 7\), got \(1, 2, 4, 8\)"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
