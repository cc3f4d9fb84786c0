"""Second-order statistics of the channel in closed form (NOTES: §4.4, item 2).

    R_f[k, l] = Σ_p P_p exp(-j2π (f_k - f_l) τ_p),     R_t[s, s'] = Σ_p P_p r_p((s - s') T)
    r = J₀(2π f_d Δ) (Jakes),  J₀(2π f Δ) + j H₀(2π f Δ) (half bath-tub, H₀ Struve),  exp(j2π 0.7 f_d Δ) (specular),  1 (static)

each averaged over the prior of f_d. If all taps have one r the whole covariance is R_f ⊗ R_t; otherwise it is a sum of such products,
one for each kind of tap. These are expectations over channels, never over one channel (NOTES: §10.2).
"""

from jaxtyping import Complex
from torch import Tensor

from .config import OFDMConfig
from .fading import DopplerRange
from .profiles import DelayProfile

Doppler = DopplerRange | float | tuple[float, float]


def frequency_covariance(
    config: OFDMConfig, profile: DelayProfile | str, delay_spread: float | None = None
) -> Complex[Tensor, "k k"]:
    """R_f at one symbol, complex128."""
    raise NotImplementedError


def time_covariance(
    config: OFDMConfig, profile: DelayProfile | str, doppler: Doppler | None = None
) -> Complex[Tensor, "s s"]:
    """R_t at one subcarrier, complex128; `doppler` belongs to profiles that do not fix it."""
    raise NotImplementedError


def covariance(
    config: OFDMConfig,
    profile: DelayProfile | str,
    doppler: Doppler | None = None,
    delay_spread: float | None = None,
) -> Complex[Tensor, "k s k s"]:
    """E H[k, s] H*[l, s'] of the whole grid, complex128; `flatten` both pairs for a matrix."""
    raise NotImplementedError
