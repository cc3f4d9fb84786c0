"""Errors, operations and kept bytes against values that are known by hand."""

import math

import pytest
import torch
from torch import nn

from icenet.estimators.reesnet import TransposedUpsampling
from icenet.metrics import ber, decibels, macs, nmse, nmse_db, saved_tensor_bytes
from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES


def test_the_error_is_a_ratio_of_sums() -> None:
    h = torch.tensor([[3.0 + 4.0j], [0.1 + 0.0j]])
    off = torch.tensor([[1.0j], [1.0j]])
    assert float(nmse(h + off, h)) == pytest.approx(2 / 25.01)
    assert nmse_db(h + off, h) == pytest.approx(10 * math.log10(2 / 25.01))
    assert nmse_db(h, h) == -math.inf


def test_the_mean_of_ratios_is_another_number_for_fading_channels() -> None:
    """10.10: it is more than a decibel larger."""
    h = (
        ChannelSimulator("nr_v2x_15", "EPA", doppler=(0.0, 10.0))
        .sample(2000, torch.Generator().manual_seed(0))
        .h
    )
    estimate = h + 0.3 * torch.randn_like(h)
    of_sums = nmse_db(estimate, h)
    each = (estimate - h).abs().square().sum((1, 2)) / h.abs().square().sum((1, 2))
    assert decibels(float(each.mean())) > of_sums + 1


def test_the_error_has_gradients_and_refuses_what_has_no_meaning() -> None:
    h = torch.randn(2, 3, dtype=torch.complex64)
    guess = torch.zeros_like(h, requires_grad=True)
    nmse(guess, h).backward()
    torch.testing.assert_close(guess.grad, -2 * h / h.abs().square().sum())
    with pytest.raises(ValueError, match=r"h_hat has shape \(1, 3\), h has \(2, 3\)"):
        nmse(h[:1], h)
    with pytest.raises(ValueError, match="h is zero everywhere"):
        nmse(h, torch.zeros_like(h))


def test_operations_of_layers_are_counted_as_often_as_they_run() -> None:
    conv = nn.Conv2d(2, 4, 3, padding=1)
    x = torch.zeros(3, 2, 8, 8)
    assert macs(conv, x) == 3 * 64 * 9 * 2 * 4
    shared = nn.Conv2d(4, 4, 3, padding=1, groups=2)
    assert macs(nn.Sequential(conv, shared, shared), x) == macs(conv, x) + 2 * (3 * 64 * 9 * 2 * 4)
    assert macs(nn.Linear(5, 7), torch.zeros(2, 3, 5)) == 2 * 3 * 5 * 7
    up = TransposedUpsampling(16, NUMEROLOGIES["reesnet_48"], 11)
    assert macs(up, torch.zeros(1, 16, 24, 2)) == 24 * 2 * 16 * 16 * 121


def test_the_cost_of_a_block_is_that_of_the_notes() -> None:
    """§4.5: two 3 × 3 convolutions of 16 channels on 36 × 4 are 0.66 million multiply-accumulates."""
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    assert macs(block, torch.zeros(1, 16, 36, 4)) == 18 * 16**2 * 36 * 4 == 663_552


def test_counting_leaves_the_module_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)).train()
    macs(net, torch.randn(2, 1, 5, 5))
    assert net.training
    assert int(net[1].num_batches_tracked) == 0
    assert not net[0]._forward_hooks


@pytest.mark.parametrize("depth", [1, 5, 20])
def test_kept_bytes_grow_with_depth(depth: int) -> None:
    x = torch.ones(100, requires_grad=True)

    def step() -> torch.Tensor:
        y = x
        for _ in range(depth):
            y = y.exp() * 0.01
        return y.sum()

    assert (
        saved_tensor_bytes(step) == 400 * depth
    )  # exp keeps its result, a product with a number keeps nothing


def test_the_peak_is_counted_not_the_sum() -> None:
    x = torch.ones(100, requires_grad=True)

    def one_after_the_other() -> None:
        for _ in range(10):
            x.exp().sum().backward()

    assert saved_tensor_bytes(one_after_the_other) == 400


def test_views_count_once_parameters_not_and_gradients_are_right() -> None:
    layer = nn.Linear(10, 10, bias=False)
    x = torch.randn(8, 10)

    def step() -> torch.Tensor:
        y = layer(x)
        return (y.square() + y.view(8, 10).square()).sum()

    assert saved_tensor_bytes(step, layer.parameters()) == 2 * 8 * 10 * 4  # x and y
    assert saved_tensor_bytes(step) == 2 * 8 * 10 * 4  # the weight is not needed: x asks for no gradient
    wanted = torch.autograd.grad(step(), layer.weight)[0]
    layer.zero_grad()
    saved_tensor_bytes(step)
    torch.testing.assert_close(layer.weight.grad, wanted)


def test_nothing_is_kept_without_gradients() -> None:
    with torch.no_grad():
        assert saved_tensor_bytes(lambda: torch.ones(5).exp().sum()) == 0


def test_bit_errors_are_a_share_of_bits() -> None:
    sent = torch.rand(3, 50) < 0.5
    decided = sent.clone()
    decided[0, :6] = ~decided[0, :6]
    assert ber(decided, sent) == pytest.approx(6 / 150)
    with pytest.raises(ValueError, match=r"must have one shape and hold bits, got \(3,\) and \(2,\)"):
        ber(torch.ones(3, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="hold bits"):
        ber(sent[:0], sent[:0])


def test_decibels() -> None:
    assert decibels(0.1) == pytest.approx(-10)
    assert math.isnan(decibels(math.nan))
