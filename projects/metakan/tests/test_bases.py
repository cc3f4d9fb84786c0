"""Bases: B-splines against scipy and pykan, identities of the polynomials, values at the edge of the numbers."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from metakan import (
    BSplineBasis,
    ChebyshevBasis,
    GramBasis,
    LegendreBasis,
    RBFBasis,
    WaveletBasis,
)
from metakan.bases.closed_form import closed_form_features, silu_derivative

D = torch.float64
GRIDS = [
    (5, 3, (-1.0, 1.0)),
    (1, 1, (0.0, 3.0)),
    (7, 2, (-2.0, 5.0)),
    (4, 5, (-1.0, 1.0)),
    (6, 4, (-3.0, -1.0)),
]
ALL = [BSplineBasis, RBFBasis, WaveletBasis, LegendreBasis, GramBasis, ChebyshevBasis]


def scipy_splines(basis: BSplineBasis, x: np.ndarray) -> np.ndarray:
    """Values by scipy on a knot sequence continued by k knots, so that its domain covers the whole support."""
    k, h, t = basis.spline_order, basis.cell_width, basis.knots.numpy()
    knots = np.concatenate([t[0] - h * np.arange(k, 0, -1), t, t[-1] + h * np.arange(1, k + 1)])
    return BSpline.design_matrix(x, knots, k).toarray()[:, k:-k]


@pytest.mark.parametrize("grid", GRIDS)
def test_splines_equal_scipy(grid):
    basis = BSplineBasis(*grid)
    x = torch.linspace(basis.knots[0], basis.knots[-1], 1001, dtype=D)[:-1]
    expected = scipy_splines(basis, x.numpy())
    assert np.abs(basis(x[:, None])[:, 0].numpy() - expected).max() < 1e-12
    assert np.abs(basis.piecewise(x[:, None])[:, 0].numpy() - expected).max() < 1e-12
    shifted = scipy_splines(basis, (x + 1e-3)[:-1].numpy().clip(None, float(basis.knots[-1]) - 1e-9))
    assert np.abs(shifted - expected[:-1]).max() > 1e-5  # control: the comparison sees a small error


@pytest.mark.parametrize("grid", [(5, 3, (-1.0, 1.0)), (4, 2, (0.0, 2.0))])
def test_splines_equal_pykan(grid):
    spline = pytest.importorskip("kan.spline", reason="pykan is not installed")
    basis = BSplineBasis(*grid)
    x = torch.rand(200, 3, dtype=D) * 4 - 2
    expected = spline.B_batch(x, basis.knots.expand(3, -1), k=basis.spline_order)
    assert (basis(x) - expected).abs().max() < 1e-10


@pytest.mark.parametrize("grid", [*GRIDS, (5, 0, (-1.0, 1.0))])
def test_splines_sum_to_one_on_the_grid_and_vanish_outside_the_support(grid):
    basis = BSplineBasis(*grid)
    low, high = basis.grid_range
    x = low + (high - low) * torch.rand(500, 1, dtype=D)
    assert (basis(x).sum(-1) - 1).abs().max() < 1e-12
    left, right = basis.support
    outside = torch.tensor([[left - 1e-9], [right + 1e-9], [1e30], [-math.inf], [math.inf]], dtype=D)
    assert torch.equal(basis(outside), torch.zeros(5, 1, basis.n_basis, dtype=D))


def test_order_zero_is_half_open_at_the_knots():
    basis = BSplineBasis(5, 0, (-1.0, 1.0))
    assert torch.equal(basis(basis.knots[:-1, None])[:, 0], torch.eye(5, dtype=D))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_every_order(order):
    x = (torch.rand(4, 3, dtype=D) * 4 - 2).requires_grad_()

    def features(v):
        return closed_form_features(v, 4, order, (-1.0, 2.0), True)

    assert torch.autograd.gradcheck(features, x)
    assert torch.autograd.gradgradcheck(features, x)
    basis = BSplineBasis(4, order, (-1.0, 2.0))
    seconds = []
    for value in (basis(x), basis.piecewise(x)):  # the two ways have the same second derivatives
        (slope,) = torch.autograd.grad(value.square().sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(slope.square().sum(), x)[0])
    assert (seconds[0] - seconds[1]).abs().max() < 1e-9 * seconds[0].abs().max().clamp_min(1)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_silu_derivatives(order):
    x = torch.linspace(-4, 4, 41, dtype=D, requires_grad=True)
    value = torch.nn.functional.silu(x)
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    assert (silu_derivative(x.detach(), order) - value.detach()).abs().max() < 1e-12


@pytest.mark.slow  # the first forward-mode derivative imports torch's decompositions
@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method:DeprecationWarning")
def test_splines_under_torch_func():
    basis = BSplineBasis(5, 3, (-1.0, 1.0))
    x = torch.linspace(-1.5, 1.5, 7, dtype=D)[:, None]
    slope = torch.func.vmap(torch.func.jacrev(basis))(x)[:, 0, :, 0]
    forward = torch.func.vmap(torch.func.jacfwd(basis))(x)[:, 0, :, 0]
    step = 1e-6
    numeric = (basis(x + step) - basis(x - step))[:, 0] / (2 * step)
    assert (slope - numeric).abs().max() < 1e-7
    assert (forward - slope).abs().max() < 1e-12


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, D])
def test_shape_and_dtype(make, dtype):
    basis = make().to(dtype)
    x = torch.linspace(-0.9, 0.9, 24).reshape(2, 4, 3)
    values = basis(x.to(dtype))
    assert values.shape == (2, 4, 3, basis.n_basis)
    assert values.dtype == dtype
    exact = make().to(D)
    exact.load_state_dict(basis.state_dict())
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float32: 1e-5, D: 1e-12}[dtype]
    assert (values.to(D) - exact(x.to(dtype).to(D))).abs().max() < tolerance * 4


@pytest.mark.parametrize("make", [*ALL, lambda: BSplineBasis(5, 0)])
def test_nan_in_gives_nan_out(make):
    values = make()(torch.tensor([[math.nan, 0.3]]))
    assert values[0, 0].isnan().all()


@pytest.mark.parametrize("make", ALL)
def test_empty_batch(make):
    assert make()(torch.empty(0, 3)).shape == (0, 3, make().n_basis)


def test_legendre_is_orthogonal_and_scaled():
    nodes, weights = np.polynomial.legendre.leggauss(8)
    values = LegendreBasis(4, scaling="none")(torch.from_numpy(nodes)[:, None])[:, 0]
    gram = values.T @ (torch.from_numpy(weights)[:, None] * values)
    assert (gram - torch.diag(2 / (2 * torch.arange(5, dtype=D) + 1))).abs().max() < 1e-12
    x = torch.randn(6, 2, dtype=D) * 7 + 3
    scaled = LegendreBasis(1)(x)[..., 1]
    assert scaled.min() == -1
    assert abs(scaled.max().item() - 1) < 1e-12
    assert LegendreBasis(2)(torch.full((3, 2), 5.0))[..., 1].abs().max() == 0  # constant input


def test_chebyshev_is_cos_m_arccos():
    x = torch.randn(50, 2, dtype=D)
    m = torch.arange(7)
    assert (ChebyshevBasis(6)(x) - torch.cos(m * torch.arccos(torch.tanh(x))[..., None])).abs().max() < 1e-12
    far = torch.tensor(
        [[40.0]], dtype=D, requires_grad=True
    )  # tanh is exactly 1: arccos has an infinite slope
    ChebyshevBasis(3)(far).sum().backward()
    assert far.grad.isfinite().all()


def test_gram_recurrence_and_trainable_beta():
    basis = GramBasis(3).to(D)
    t = torch.tanh(torch.tensor([[0.7]], dtype=D))
    b = basis.beta
    # beta(1, 2) = (3 * 1 * 1) / (4 / 3), beta(2, 3) = (5 * 1 * 4) / (9 / 15)
    p2 = t * t - 9 / 4 * b[1]
    p3 = t * p2 - 100 / 3 * b[2] * t
    expected = torch.nn.functional.silu(torch.stack([torch.ones_like(t), t, p2, p3], -1))
    assert (basis(torch.tensor([[0.7]], dtype=D)) - expected).abs().max() < 1e-12
    basis(torch.randn(3, 2, dtype=D)).sum().backward()
    assert (basis.beta.grad[1:3] != 0).all()


def test_rbf_formula_and_frozen_centres():
    basis = RBFBasis(8, (-2.0, 2.0)).to(D)
    x = torch.randn(9, 2, dtype=D)
    g = torch.linspace(-2, 2, 8)
    assert (basis(x) - torch.exp(-(((x[..., None] - g) / (4 / 7)) ** 2))).abs().max() < 1e-6
    assert [p.requires_grad for p in basis.parameters()] == [False]


def test_wavelet_scale_is_one_and_finite_at_raw_zero():
    basis = WaveletBasis()
    x = torch.randn(20, dtype=D)
    hat = 2 / (math.sqrt(3) * math.pi**0.25) * (x**2 - 1) * torch.exp(-(x**2) / 2)
    edge = torch.tensor([0.0, 0.0, 1.0], dtype=D)
    assert (basis.edges(x, edge) - hat).abs().max() < 1e-12
    moved = torch.tensor([0.5, 0.3, 2.0], dtype=D)
    scale = math.log1p(math.exp(0.5 + math.log(math.e - 1)))
    assert (basis.edges(x * scale + 0.3, moved) - 2 * hat).abs().max() < 1e-12
    narrow = basis.edges(x, torch.tensor([-800.0, 0.0, 1.0], dtype=D))
    assert not narrow.isnan().any()


@pytest.mark.parametrize("kind", ["mexican_hat", "morlet", "dog", "meyer", "shannon"])
def test_wavelets_are_finite_with_finite_slopes(kind):
    x = torch.linspace(-30, 30, 601, dtype=D, requires_grad=True)
    value = WaveletBasis(kind)(x[:, None])
    value.sum().backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: BSplineBasis(0), ValueError, "grid_size must be at least 1, got 0"),
        (lambda: BSplineBasis(5, -1), ValueError, "spline_order must be at least 0, got -1"),
        (lambda: BSplineBasis(5.0), TypeError, "grid_size must be an integer"),
        (lambda: BSplineBasis(5, 2.5), TypeError, "spline_order must be an integer"),
        (lambda: BSplineBasis(5, 3, (1.0, 1.0)), ValueError, "grid_range must be finite with low < high"),
        (lambda: BSplineBasis(5, 3, (0.0, math.inf)), ValueError, "grid_range must be finite"),
        (lambda: BSplineBasis(5, 3, (0.0, 1.0, 2.0)), ValueError, "grid_range must be a pair"),
        (lambda: RBFBasis(1), ValueError, "n_centers must be at least 2"),
        (lambda: LegendreBasis(0), ValueError, "degree must be at least 1"),
        (lambda: GramBasis(0), ValueError, "degree must be at least 1"),
        (lambda: ChebyshevBasis(0), ValueError, "degree must be at least 1"),
        (lambda: LegendreBasis(3, "std"), ValueError, "scaling must be one of"),
        (lambda: WaveletBasis("haar"), ValueError, "kind must be one of"),
        (lambda: WaveletBasis().n_weights(base=True), ValueError, "no base function"),
    ],
)
def test_bad_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()
