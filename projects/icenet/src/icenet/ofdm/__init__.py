"""The OFDM simulator: grids, delay profiles, fading, channels, covariances and the link around them."""

from .channel import Channels, ChannelSimulator, Slots
from .config import NUMEROLOGIES, OFDMConfig, get_numerology
from .covariance import covariance, frequency_covariance, time_covariance
from .fading import DopplerRange
from .link import (
    BitErrors,
    add_noise,
    equalize_mmse,
    equalize_zf,
    ls_at_pilots,
    qam_demap,
    qam_map,
    rayleigh_ber,
    uncoded_ber,
)
from .pilots import PilotPattern
from .profiles import MIXTURES, PROFILES, DelayProfile, get_mixture, get_profile

__all__ = [
    "MIXTURES",
    "NUMEROLOGIES",
    "PROFILES",
    "BitErrors",
    "ChannelSimulator",
    "Channels",
    "DelayProfile",
    "DopplerRange",
    "OFDMConfig",
    "PilotPattern",
    "Slots",
    "add_noise",
    "covariance",
    "equalize_mmse",
    "equalize_zf",
    "frequency_covariance",
    "get_mixture",
    "get_numerology",
    "get_profile",
    "ls_at_pilots",
    "qam_demap",
    "qam_map",
    "rayleigh_ber",
    "time_covariance",
    "uncoded_ber",
]
