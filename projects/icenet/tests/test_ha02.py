"""The attention baseline: heads computed by hand, any grid, heads that divide the pilots."""

import math

import pytest
import torch

from icenet.estimators.ha02 import HA02, EncoderBlock


def test_attention_is_softmax_of_products_within_each_head() -> None:
    block = EncoderBlock(6, 2).double()
    x = torch.randn(3, 2, 6, dtype=torch.float64)
    q, k, v = block.qkv(x).chunk(3, -1)
    parts = []
    for head in (slice(0, 3), slice(3, 6)):
        weights = torch.softmax(q[..., head] @ k[..., head].transpose(1, 2) / math.sqrt(3), -1)
        parts.append(weights @ v[..., head])
    torch.testing.assert_close(block._attention(x), block.out(torch.cat(parts, -1)))


def test_the_two_parts_are_tokens_and_mix() -> None:
    net = HA02("lte_small").eval()
    planes = torch.randn(1, 2, 36, 2)
    other = planes.clone()
    other[:, 1] += 1
    assert (net.network(planes)[:, 0] - net.network(other)[:, 0]).abs().max() > 1e-4


def test_heads_must_divide_the_pilots() -> None:
    with pytest.raises(ValueError, match="n_heads must divide the 72 pilots of the grid, got 5"):
        HA02("lte_small", n_heads=5)
