"""The drop-in layer and the sequence that shares one hypernetwork."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sa_conv import SAConv2d, SAGroupConv2d, SALiftingConv2d, SAProjectionConv2d, SASequential
from sa_conv.hyper import ImageHyperNet


def test_drop_in_layer_starts_as_a_b_conv_and_learns_to_bend():
    torch.manual_seed(0)
    layer, x = SAConv2d(16, 24), torch.randn(3, 16, 20, 20)
    plain = SAGroupConv2d(2, 3)
    plain.load_state_dict(
        {
            k.removeprefix("conv."): v
            for k, v in layer.state_dict().items()
            if "frame" not in k and "hyper" not in k
        }
    )
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)
    layer(x).square().sum().backward()
    assert layer.hyper.mlp[-1].bias.grad.abs().max() > 0


def test_sequence_gives_w_to_its_layers():
    torch.manual_seed(0)
    lift, project = (cls(3, 3, geometry="adaptive") for cls in (SALiftingConv2d, SAProjectionConv2d))
    hyper = ImageHyperNet()
    nn.init.normal_(hyper.mlp[-1].weight, std=1e-3)
    net, x = SASequential(lift, nn.ReLU(), project, hyper=hyper).eval(), 255 * torch.rand(2, 3, 26, 26)
    w = hyper(x)
    assert w.abs().max() > 0
    torch.testing.assert_close(net(x), project(F.relu(lift(x, w)), w))


def test_bad_drop_in():
    with pytest.raises(ValueError, match="in_channels must be a multiple of the 8"):
        SAConv2d(12, 16)
    with pytest.raises(ValueError, match="out_channels must be a multiple of the 8"):
        SAConv2d(3, 12, image=True)
    with pytest.raises(ValueError, match="geometry"):
        SAConv2d(16, 16, geometry="learned")
