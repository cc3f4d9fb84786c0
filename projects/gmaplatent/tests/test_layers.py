import pytest
import torch

from gmaplatent.layers import ResidualLinear


def test_it_adds_the_linear_map_to_its_input():
    layer = ResidualLinear(5).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = x + torch.nn.functional.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        ResidualLinear(0)
    with pytest.raises(ValueError, match="x has 4 features, this layer takes 5"):
        ResidualLinear(5)(torch.zeros(2, 4))
