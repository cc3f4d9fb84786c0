"""SimpleNet: its layers in order, nearest resizing unless asked for otherwise."""

import torch

from icenet.estimators.lattice import Lattice, Nearest
from icenet.estimators.simplenet import SimpleNet


def test_the_layers_in_order() -> None:
    net = SimpleNet("nr_v2x_15")
    x = torch.randn(2, 2, 36, 4)
    hidden = torch.relu(net.conv2(torch.relu(net.conv1(x))))
    torch.testing.assert_close(net.network(x), net.head(net.up(hidden)))
    assert isinstance(net.up, Nearest)
    assert isinstance(SimpleNet("nr_v2x_15", resize="lattice").up, Lattice)
