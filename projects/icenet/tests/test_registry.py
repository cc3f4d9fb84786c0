"""Every estimator by name: exact parameter counts, shapes on every grid, files, learning, and errors that help."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icenet.estimators.base import Estimator, NetworkEstimator
from icenet.estimators.registry import FORMULAS, NETWORKS, build
from icenet.metrics import nmse
from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES

OPTIONS: dict[str, dict[str, Any]] = {
    "stacked": {"n": 2},
    "tied_unroll": {"n": 2},
    "channelnet": {"depth": 1},
}
EXPLICIT = ("reesnet", "reesnet_bilinear", "interpolation_resnet", "simplenet", "channelnet", "ha02")


def network(name: str, config: str = "nr_v2x_15") -> NetworkEstimator:
    built = build(name, config, **OPTIONS.get(name, {}))
    assert isinstance(built, NetworkEstimator)
    return built


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [
        ("reesnet", "reesnet_48", 52_466),
        ("reesnet_bilinear", "reesnet_48", 21_474),
        ("reesnet_bilinear", "nr_v2x_15", 21_474),
        ("interpolation_resnet", "lte_small", 6_562),
        ("simplenet", "channelnet_48", 882),
        ("ha02", "lte_small", 105_607),
    ],
)
def test_parameters_are_exactly_those_of_the_notes(name: str, config: str, count: int) -> None:
    assert sum(p.numel() for p in network(name, config).parameters()) == count


def test_channelnet_has_the_published_parts() -> None:
    net = build("channelnet", "channelnet_48")
    assert isinstance(net, nn.Module)
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert parts == {"srcnn": 8_129, "dncnn": 668_225}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_on_its_grid_and_has_gradients(name: str) -> None:
    net = network(name)
    ls = torch.randn(2, 36, 4, dtype=torch.complex64)
    found = net(ls, 0.1)
    assert found.shape == (2, 72, 14)
    assert found.dtype == torch.complex64
    found.abs().square().sum().backward()
    trained = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize("config", sorted(NUMEROLOGIES))
def test_every_baseline_fits_every_grid(name: str, config: str) -> None:
    if name == "ha02" and NUMEROLOGIES[config].pilots.n_pilots > 200:
        pytest.skip("a dense map of that size is slow and shows nothing new")
    if name == "reesnet" and config == "dsrc_10MHz":
        with pytest.raises(ValueError, match="use kernel of at least 26"):
            network(name, config)
        return
    net = network(name, config)
    assert net.estimate(torch.randn(1, *net.ofdm.pilots.shape, dtype=torch.complex64)).shape == (
        1,
        *net.ofdm.shape,
    )


@pytest.mark.parametrize("name", EXPLICIT)
def test_a_saved_network_computes_the_same(name: str, tmp_path: Path) -> None:
    net = network(name)
    net.save_pretrained(tmp_path)
    x = torch.randn(2, 36, 4, dtype=torch.complex64)
    torch.testing.assert_close(
        type(net).from_pretrained(tmp_path).estimate(x), net.estimate(x), rtol=0, atol=0
    )


@pytest.mark.parametrize("name", EXPLICIT)
def test_every_baseline_learns(name: str) -> None:
    """A hundredth of the way: the error on the batch that is trained on falls."""
    slots = ChannelSimulator("nr_v2x_15", "EVA", doppler=(0.0, 100.0)).slots(
        8, 20.0, torch.Generator().manual_seed(0)
    )
    net = network(name)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = nmse(net(slots.ls), slots.h)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("name", FORMULAS)
def test_every_formula_answers(name: str) -> None:
    simulator = ChannelSimulator("reesnet_48", "EVA", doppler=(0.0, 1000.0))
    statistics: dict[str, dict[str, Any]] = {
        "lmmse": {"profile": "EVA", "doppler": (0.0, 1000.0)},
        "lmmse_mismatched": {"doppler": (0.0, 1000.0)},
        "lmmse_empirical": {"h": simulator.sample(300, torch.Generator().manual_seed(1)).h},
    }
    estimator = build(name, "reesnet_48", **statistics.get(name, {}))
    assert isinstance(estimator, Estimator)
    slots = simulator.slots(100, 5.0, torch.Generator().manual_seed(0))
    assert float(nmse(estimator.estimate(slots.ls, slots.noise_var), slots.h)) < 1


def test_names_and_options_that_do_not_exist_are_said() -> None:
    with pytest.raises(
        ValueError, match=r"name must be one of icenet_tiny, .*, lmmse_empirical, got 'resnet'"
    ):
        build("resnet", "nr_v2x_15")
    with pytest.raises(TypeError, match="width"):
        build("simplenet", "nr_v2x_15", width=3)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        build("simplenet", "nr_v2x_15", channels=0)
