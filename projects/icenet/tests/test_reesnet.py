"""ReEsNet and its bilinear form: published sizes, cropping, any grid."""

import pytest
import torch

from icenet.estimators.reesnet import ReEsNet, ReEsNetBilinear, ResidualBlock, TransposedUpsampling
from icenet.ofdm.config import NUMEROLOGIES


@pytest.mark.parametrize(
    ("name", "kernel", "stride"),
    [
        ("reesnet_48", 11, (3, 7)),
        ("lte_small", 10, (2, 7)),
        ("channelnet_48", 11, (6, 4)),
        ("nr_v2x_15", 11, (2, 4)),
    ],
)
def test_the_transposed_convolution_fills_the_grid(name: str, kernel: int, stride: tuple[int, int]) -> None:
    config = NUMEROLOGIES[name]
    up = TransposedUpsampling(2, config, kernel)
    assert up.conv.stride == stride
    assert up(torch.randn(3, 2, *config.pilots.shape)).shape == (3, 2, 72, 14)


def test_cropping_is_symmetric_on_the_published_grid() -> None:
    """11 × 11 with stride 3 × 7 makes 80 × 18 of 24 × 2; four are cut from either end in frequency, two in time."""
    up = TransposedUpsampling(1, NUMEROLOGIES["reesnet_48"], 11)
    x = torch.randn(1, 1, 24, 2)
    torch.testing.assert_close(up(x), up.conv(x)[..., 4:76, 2:16])


def test_a_kernel_that_leaves_gaps_at_the_end_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"kernel 1 with stride \(3, 7\) fills \(70, 8\) of the grid .* at least 7"
    ):
        TransposedUpsampling(1, NUMEROLOGIES["reesnet_48"], 1)
    assert TransposedUpsampling(1, NUMEROLOGIES["reesnet_48"], 7)(torch.zeros(1, 1, 24, 2)).shape[-1] == 14


def test_the_skips_go_round_blocks_and_body() -> None:
    block = ResidualBlock(3)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 5, 4)
    torch.testing.assert_close(block(x), x)
    net = ReEsNetBilinear("nr_v2x_15")
    torch.nn.init.zeros_(net.merge.weight)
    torch.nn.init.zeros_(net.merge.bias)  # type: ignore[arg-type]
    planes = torch.randn(2, 2, 36, 4)
    torch.testing.assert_close(net.network(planes), net.head(net.up(net.stem(planes))))


def test_the_kernel_is_that_of_the_grid() -> None:
    assert ReEsNet("lte_small", kernel=10).up.conv.weight.shape == (16, 16, 10, 10)
