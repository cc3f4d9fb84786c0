"""What is simulated at a scale: the grid, the channel, the range of the signal-to-noise ratio; training and test slots."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from tenfold.claims import Scale

from ..ofdm.channel import ChannelSimulator, CyclicPrefixWarning, Slots
from ..ofdm.config import NUMEROLOGIES, OFDMConfig
from ..ofdm.profiles import get_mixture

CPU = torch.device("cpu")

SNRS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
"""Signal-to-noise ratios of the tests, in dB (§8)."""


@dataclass(frozen=True)
class Setting:
    """A kind of channel that networks are trained or tested on.

    Args:
        numerology: grid and pilots.
        profile: delay profile.
        doppler: smallest and largest maximum Doppler frequency, in Hz, uniform in between for every slot.
        snr: smallest and largest SNR of training, in dB, uniform in between for every slot.
        delay_spread: in ns, for profiles that are scaled.
    """

    numerology: str = "nr_v2x_15"
    profile: str = "EVA"
    doppler: tuple[float, float] = (0.0, 1000.0)
    snr: tuple[float, float] = (0.0, 25.0)
    delay_spread: float | None = None

    @property
    def config(self) -> OFDMConfig:
        return NUMEROLOGIES[self.numerology]

    @property
    def fixes_doppler(self) -> bool:
        """Whether all members of the profile have Doppler frequencies of their own."""
        members, _ = get_mixture(self.profile)
        return all(member.tap_doppler is not None for member in members)

    def simulator(self) -> ChannelSimulator:
        doppler = None if self.fixes_doppler else self.doppler
        with warnings.catch_warnings():  # ETU outlasts the prefix of nr_v2x_15 by 0.3 µs (10.6)
            warnings.simplefilter("ignore", CyclicPrefixWarning)
            return ChannelSimulator(
                self.config, self.profile, doppler=doppler, delay_spread=self.delay_spread
            )

    def moved(self, profile: str, delay_spread: float | None = None) -> "Setting":
        """The same grid and mobility behind another delay profile."""
        return replace(self, profile=profile, delay_spread=delay_spread)

    def at_doppler(self, frequency: float) -> "Setting":
        """The same channel at one Doppler frequency."""
        return replace(self, doppler=(frequency, frequency))


V2X = Setting()
PREDECESSOR = Setting("lte_small", "ETU", (0.0, 97.0), (5.0, 25.0))
"""Grid, channel and mobility of the predecessor's recipe (§5)."""


def setting_for(scale: Scale) -> Setting:
    """The V2X grid at smoke, cpu and gpu; the predecessor's at paper."""
    return PREDECESSOR if scale == Scale.PAPER else V2X


class Stream:
    """Fresh slots at every call; the same sequence for the same seed, whatever network they are for (10.13).

    The slots are drawn on the CPU and moved, so that a seed gives the same ones on every device.

    Example:
        >>> Stream(V2X, batch_size=3, seed=0)().h.shape
        torch.Size([3, 72, 14])
    """

    def __init__(self, setting: Setting, batch_size: int, seed: int, device: torch.device = CPU):
        self.simulator, self.batch_size, self.snr = setting.simulator(), batch_size, setting.snr
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def __call__(self) -> Slots:
        slots = self.simulator.slots(self.batch_size, self.snr, self.generator)
        return on_device(slots, self.device)


Tests = dict[float, Slots]
"""SNR in dB -> slots at that SNR."""


def draw_tests(
    setting: Setting,
    count: int,
    seed: int,
    snrs: Sequence[float] = SNRS,
    device: torch.device = CPU,
) -> Tests:
    """`count` slots at each SNR: the same channels and the same noise but for its strength, so that SNRs compare."""
    simulator = setting.simulator()
    return {
        snr: on_device(simulator.slots(count, snr, torch.Generator().manual_seed(seed)), device)
        for snr in snrs
    }


def on_device(slots: Slots, device: torch.device) -> Slots:
    return mapped(slots, lambda tensor: tensor.to(device))


def mapped(slots: Slots, change: Callable[[Tensor], Tensor]) -> Slots:
    """Slots with every tensor changed; one that is missing stays so."""
    tensors = {field.name: getattr(slots, field.name) for field in fields(slots)}
    changed: dict[str, Any] = {n: None if tensor is None else change(tensor) for n, tensor in tensors.items()}
    return replace(slots, **changed)
