"""Sionna as a referee: how far our closed-form covariances are from its own (NOTES: §9; needs the extra `icenet[sionna]`)."""

from dataclasses import dataclass
from types import ModuleType

from .config import OFDMConfig
from .covariance import frequency_covariance, time_covariance
from .profiles import DelayProfile, get_profile


@dataclass(frozen=True)
class Deviation:
    """Largest absolute differences of entries, of matrices with ones on the diagonal."""

    frequency: float
    time: float


def deviation_from_sionna(
    config: OFDMConfig, profile: DelayProfile | str, delay_spread: float, speed: float
) -> Deviation:
    """Compare R_f and R_t of TDL-A … TDL-E with Sionna's.

    Args:
        config: the grid; needs a carrier frequency.
        profile: one of the five.
        delay_spread: in nanoseconds.
        speed: in km/h.

    Raises:
        ImportError: without the extra.
        ValueError: for a profile that Sionna has no covariance of.
    """
    profile = get_profile(profile)
    if not profile.scalable:
        raise ValueError(
            f"Sionna has the covariances of TDL-A, TDL-B, TDL-C, TDL-D and TDL-E, not of {profile.name}"
        )
    doppler = config.doppler_of_speed(speed)
    peer, model = _sionna(), profile.name.removeprefix("TDL-")
    # Its grid is centred like ours; the covariance of a stationary channel does not depend on it.
    R_f = peer.tdl_freq_cov_mat(
        model, config.subcarrier_spacing, config.n_subcarriers, 1e-9 * delay_spread, precision="double"
    )
    R_t = peer.tdl_time_cov_mat(
        model, speed / 3.6, config.carrier_frequency, config.symbol_time, config.n_symbols, precision="double"
    )
    ours_f, ours_t = (
        frequency_covariance(config, profile, delay_spread),
        time_covariance(config, profile, doppler),
    )
    return Deviation(
        float((ours_f - R_f.to(ours_f)).abs().max()), float((ours_t - R_t.to(ours_t)).abs().max())
    )


def _sionna() -> ModuleType:
    try:
        import sionna.phy.ofdm
    except ImportError as error:
        raise ImportError("this comparison needs Sionna: install icenet[sionna]") from error
    return sionna.phy.ofdm
