"""Interpolation-ResNet: the sum of all blocks in the skip, even kernels that keep the size, published sizes."""

import pytest
import torch
import torch.nn.functional as F

from icenet.estimators.interpolation_resnet import InterpolationResNet, SameConv2d


@pytest.mark.parametrize("kernel", [(36, 2), (36, 7), (2, 2), (3, 3), (1, 4)])
def test_the_size_is_kept_and_the_odd_zero_is_at_the_end(kernel: tuple[int, int]) -> None:
    conv = SameConv2d(1, 1, kernel)
    x = torch.randn(2, 1, 72, 14)
    assert conv(x).shape == x.shape
    by_hand = F.pad(x, ((kernel[1] - 1) // 2, kernel[1] // 2, (kernel[0] - 1) // 2, kernel[0] // 2))
    torch.testing.assert_close(conv(x), F.conv2d(by_hand, conv.weight, conv.bias))


def test_six_terms_are_added_before_the_resize() -> None:
    net = InterpolationResNet("nr_v2x_15")
    x = torch.randn(2, 2, 36, 4)
    y = [net.stem(x)]
    for block in net.blocks:
        y.append(block(y[-1]))
    terms = [*y, net.merge(y[-1])]
    assert len(terms) == 6
    torch.testing.assert_close(net.network(x), net.head(net.up(torch.stack(terms).sum(0))))


@pytest.mark.parametrize(("channels", "kernel"), [(2, (36, 7)), (10, (36, 7)), (8, (36, 2))])
def test_parameters_of_both_forms(channels: int, kernel: tuple[int, int]) -> None:
    count = sum(p.numel() for p in InterpolationResNet("lte_small", channels, kernel=kernel).parameters())
    conv = 9 * channels**2 + channels
    assert count == (18 * channels + channels) + 9 * conv + 2 * channels * kernel[0] * kernel[1] + 2
