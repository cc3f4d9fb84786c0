import pytest
import torch
from torch import nn

from koopgen import MLP


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_layers_counts_linear_maps(layers):
    net = MLP(3, 5, hidden=7, layers=layers)
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == layers
    assert sum(isinstance(m, nn.SiLU) for m in net.modules()) == layers - 1
    assert all((m.bias == 0).all() for m in linears)
    assert net(torch.zeros(2, 4, 3)).shape == (2, 4, 5)


def test_sizes_of_the_published_networks():
    """§4: the pendulum's encoder and decoder, 64 wide with 3 linear maps."""
    count = sum(p.numel() for net in (MLP(2, 2, 64, 3), MLP(2, 2, 64, 3)) for p in net.parameters())
    assert count == 2 * (2 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2)


@pytest.mark.parametrize("name", ["n_in", "n_out", "hidden", "layers"])
def test_bad_sizes_are_named(name):
    sizes = {"n_in": 2, "n_out": 2, "hidden": 2, "layers": 2, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        MLP(**sizes)
    with pytest.raises(TypeError, match=f"{name} must be an integer, got 1.5"):
        MLP(**sizes | {name: 1.5})


def test_bad_activation_and_input_are_named():
    with pytest.raises(ValueError, match="act must be one of 'silu', 'tanh', 'gelu', 'relu', got 'sine'"):
        MLP(2, 2, 2, 2, act="sine")
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\); its last axis must have 2 entries"):
        MLP(2, 2, 2, 2)(torch.zeros(4, 3))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        MLP(2, 2, 2, 2)(torch.zeros(4, 2, dtype=torch.int64))
