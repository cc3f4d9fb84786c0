"""ICENet's channel simulator: slots a second, and against Sionna.

    uv run pytest benchmarks/speed/test_icenet_simulator.py -n0 --benchmark-enable -s

In float32, 72 subcarriers × 14 symbols.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from icenet.ofdm.channel import ChannelSimulator
from icenet.ofdm.config import NUMEROLOGIES

BATCH = 4096
SLOTS_A_SECOND = 20_000


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def sampler(simulator: ChannelSimulator, batch: int) -> Callable[[], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda: simulator.sample(batch, generator).h


def a_fifth_of_a_second() -> None:
    """The peer of an absolute speed: the time that BATCH slots may take."""
    threading.Event().wait(BATCH / SLOTS_A_SECOND)


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_slots_a_second(versus, threads):
    """EVA, f_d up to 1 kHz, M = 16: 20,000 slots a second; the ratio is to the time they may take."""
    ours = sampler(ChannelSimulator("nr_v2x_15", "EVA", doppler=(0, 1000)), BATCH)
    ratio = versus(
        ours, a_fifth_of_a_second,
        rounds=15, peer="20,000 slots a second", batch=BATCH, profile="EVA", grid="72 x 14", sinusoids=16, threads=threads, limit=1.0,
    )  # fmt: skip
    print(f"{BATCH / ratio.ours_seconds:.0f} slots a second on {threads} threads", file=sys.stderr)
    assert ratio.ratio <= 1


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
def test_against_sionna(versus, threads):
    """TDL-A, 100 ns, 60 m/s, 20 sinusoids a tap on both sides; the covariances agree to 1e-7 (projects/icenet/tests)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sionna.phy", reason="needs the extra icenet[sionna]")
        from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies
        from sionna.phy.channel.tr38901 import TDL
    batch, config = 1024, NUMEROLOGIES["nr_v2x_15"]
    tdl = TDL("A", 100e-9, config.carrier_frequency, num_sinusoids=20, min_speed=60.0, max_speed=60.0)
    frequencies = subcarrier_frequencies(72, config.subcarrier_spacing)

    def peer() -> torch.Tensor:
        a, tau = tdl(batch_size=batch, num_time_steps=14, sampling_frequency=1 / config.symbol_time)
        return cir_to_ofdm_channel(frequencies, a, tau)

    ours = sampler(ChannelSimulator(config, "TDL-A", speed=216, delay_spread=100, n_sinusoids=20), batch)
    for h in (ours(), peer()):
        assert h.numel() == batch * 72 * 14
        assert float(h.abs().square().mean()) == pytest.approx(1, abs=0.15)
    ratio = versus(
        ours, peer,
        rounds=15, peer="Sionna 2.2.0", batch=batch, profile="TDL-A 100 ns", grid="72 x 14", sinusoids=20, threads=threads, limit=1 / 5,
    )  # fmt: skip
    print(
        f"{batch / ratio.ours_seconds:.0f} against {batch / ratio.peer_seconds:.0f} slots a second",
        file=sys.stderr,
    )
    assert ratio.ratio <= 1 / 5
