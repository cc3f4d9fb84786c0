"""ChannelNet: two images a slot, stages that train one network at a time, the denoiser subtracts."""

import pytest
import torch

from icenet.estimators.channelnet import ChannelNet, DnCNN
from icenet.estimators.ls import LSRBF
from icenet.ofdm.config import OFDMConfig
from icenet.ofdm.pilots import PilotPattern

OWN = OFDMConfig(12, 7, 15e3, 4e-6, None, PilotPattern.comb(12, 3, (1, 5), (0, 1)))


def test_real_and_imaginary_parts_pass_the_same_network_apart() -> None:
    net = ChannelNet(OWN, depth=2).eval()
    planes = torch.randn(3, 2, 4, 2)
    swapped = net.network(planes.flip(1))
    torch.testing.assert_close(swapped, net.network(planes).flip(1))
    other = planes.clone()
    other[:, 1] += 1
    torch.testing.assert_close(net.network(other)[:, 0], net.network(planes)[:, 0])


def test_it_begins_with_the_interpolation_by_radial_functions() -> None:
    net = ChannelNet(OWN, stage="srcnn", depth=1)
    net.srcnn = torch.nn.Sequential()
    ls = torch.randn(3, 4, 2, dtype=torch.complex64)
    torch.testing.assert_close(net(ls), LSRBF(OWN).estimate(ls))


def test_the_denoiser_subtracts_its_output() -> None:
    dncnn = DnCNN(depth=1, channels=2).eval()
    x = torch.randn(2, 1, 5, 4)
    torch.testing.assert_close(dncnn(x) + dncnn.noise(x), x)


@pytest.mark.parametrize(
    ("stage", "trained"), [("both", {"srcnn", "dncnn"}), ("srcnn", {"srcnn"}), ("dncnn", {"dncnn"})]
)
def test_a_stage_trains_its_network(stage: str, trained: set[str]) -> None:
    net = ChannelNet(OWN, stage=stage, depth=1)  # type: ignore[arg-type]
    net(torch.randn(3, 4, 2, dtype=torch.complex64)).abs().sum().backward()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == trained


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match="stage must be one of both, srcnn, dncnn, got 'first'"):
        ChannelNet(OWN, stage="first")  # type: ignore[arg-type]
