"""Operator norms of convolutions against the singular values of the operator written out as a matrix."""

import pytest
import torch
from torch import nn

from emergence.bounds.compositional import lipschitz_bound
from emergence.bounds.convolution import circular_norm, convolution_bound, convolution_norm, symbol_supremum
from emergence.lipschitz.local import local_lipschitz


def operator_norm(layer, channels, size):
    """σ_max of the materialised operator."""
    x = torch.zeros(1, channels, *size, dtype=torch.float64)
    return local_lipschitz(layer.double(), x, method="exact").best


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((7,), {"kernel_size": 3, "padding": 1}),
        ((6, 5), {"kernel_size": 3, "padding": 1}),
        ((4, 4), {"kernel_size": (3, 2), "padding": (1, 0)}),
        ((6, 6), {"kernel_size": 2, "groups": 2, "padding": 1}),
        ((3, 3), {"kernel_size": 3, "padding": 1}),  # wraps around
        ((7, 7), {"kernel_size": 3, "padding": 2, "dilation": 2}),
        ((3, 4, 3), {"kernel_size": 3, "padding": 1}),
    ],
)
@pytest.mark.parametrize("mode", ["circular", "zeros"])
def test_exact_on_the_torus_and_bounded_with_zeros(size, options, mode):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(size) - 1]
    conv = kind(2, 4, padding_mode=mode, **options)
    exact = operator_norm(conv, 2, size)
    bound = convolution_bound(conv, size)
    assert exact <= bound * (1 + 1e-9)
    wraps_exactly = mode == "circular" and options["kernel_size"] == 3 and options.get("groups", 1) == 1
    if wraps_exactly:
        assert bound == pytest.approx(exact, rel=1e-9)
    assert exact <= convolution_bound(conv) * (1 + 1e-9)
    assert bound < 2.5 * exact


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_strides_and_paddings(stride, mode):
    conv = nn.Conv2d(2, 3, 3, stride=stride, padding=1, padding_mode=mode)
    exact = operator_norm(conv, 2, (6, 6))
    assert exact <= convolution_bound(conv, (6, 6)) * (1 + 1e-9)
    assert exact <= convolution_bound(conv) * (1 + 1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2}]
)
def test_transposed(options):
    conv = nn.ConvTranspose2d(2, 4, 3, **options)
    exact = operator_norm(conv, 2, (4, 4))
    assert exact <= convolution_bound(conv, (4, 4)) * (1 + 1e-9) < 4 * exact


@pytest.mark.parametrize("seed", range(3))
def test_supremum_over_all_sizes(seed):
    """At least the norm on every torus, and not much more than the largest of them."""
    weight = torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(seed))
    norms = [circular_norm(weight, (n, n + 3)) for n in (4, 5, 8, 13, 32, 64)]
    supremum = symbol_supremum(weight)
    assert max(norms) <= supremum < 1.03 * max(norms)


def test_the_reshaped_kernel_is_not_the_operator():
    """The norm of the kernel as a matrix is too small, by a factor of up to √taps."""
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    conv.weight.data.fill_(1.0)
    reshaped = float(torch.linalg.matrix_norm(conv.weight.flatten(1).detach(), 2))
    exact = operator_norm(conv, 1, (12, 12))
    assert reshaped == pytest.approx(3.0)
    assert 8 < exact < 9
    assert convolution_bound(conv) == pytest.approx(9.0, rel=0.03)


def test_both_sides_meet():
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    estimate = convolution_norm(conv, (10, 10))
    exact = operator_norm(conv, 3, (10, 10))
    assert estimate.best == pytest.approx(exact, rel=1e-4)
    assert exact <= float(estimate.upper[0]) < 1.1 * exact
    transposed = convolution_norm(nn.ConvTranspose2d(3, 2, 3), (5, 5))
    assert transposed.lower <= transposed.upper


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=1),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AvgPool1d(2),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2),
    ],
    ids=str,
)
def test_pooling(pool):
    size = (6,) if isinstance(pool, nn.AvgPool1d) else (6, 6)
    found = local_lipschitz(pool, torch.randn(5, 2, *size), method="exact").best
    bound = lipschitz_bound(pool).value
    assert found <= bound * (1 + 1e-6)
    if pool.stride == pool.kernel_size or pool.stride == (2,):
        assert bound == pytest.approx(found, rel=1e-6)


def test_image_network():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )
    net = net.double()
    found = local_lipschitz(net, torch.randn(3, 1, 6, 6, dtype=torch.float64), method="exact").best
    assert found <= lipschitz_bound(net).value < 20 * found


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: circular_norm(torch.ones(1, 1, 3, 3), (8,)), ValueError, "size must have 2 numbers"),
        (lambda: circular_norm(torch.ones(1, 1, 3), (0,)), ValueError, "at least 1"),
        (lambda: convolution_bound(nn.Linear(2, 2)), TypeError, "must be a convolution layer"),
        (lambda: lipschitz_bound(nn.MaxPool2d(2, dilation=2)), ValueError, "MaxPool with dilation"),
        (lambda: lipschitz_bound(nn.AvgPool2d(2, ceil_mode=True)), ValueError, "ceil_mode"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
