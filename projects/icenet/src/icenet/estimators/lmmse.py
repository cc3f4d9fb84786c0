"""Linear minimum-mean-square estimation from ensemble statistics (§4.4, item 2).

    Ĥ = R_hp (R_pp + σ² I)⁻¹ LS,     expected NMSE = 1 - tr(R_hp (R_pp + σ² I)⁻¹ R_hpᴴ) / tr R

R is the covariance of the grid over *all* channels of a profile and a range of Doppler shifts, R_hp its columns at the
pilots. It is never made from the one channel that is being estimated: that genie, found in public programs, beats every
filter a receiver could have (10.2). One eigendecomposition of R_pp serves every σ².
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from icenet.ofdm.config import OFDMConfig
from icenet.ofdm.covariance import Doppler, covariance, time_covariance
from icenet.ofdm.profiles import PROFILES, DelayProfile

from .base import NoiseVariance, check_ls, noise_variances, resolve_config


class LinearMMSE(nn.Module):
    """The filter of a covariance over the grid.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        covariance: E H[k, s] H*[l, s'], Hermitian and positive semidefinite.

    Example:
        >>> white = torch.eye(72 * 14).reshape(72, 14, 72, 14)  # neighbours tell nothing: only the pilots are found
        >>> round(LinearMMSE("nr_v2x_15", white).expected_nmse(1.0), 4)  # 1 - (144/1008) / 2 at σ² = 1
        0.9286
    """

    basis: Tensor
    spread: Tensor
    power: Tensor
    basis_single: Tensor
    spread_single: Tensor

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any],
        covariance: Complex[Tensor, "k s k s"] | Float[Tensor, "k s k s"],
    ):
        super().__init__()
        self.ofdm = resolve_config(config)
        if tuple(covariance.shape) != self.ofdm.shape * 2:
            raise ValueError(f"covariance must be {self.ofdm.shape * 2}, got {tuple(covariance.shape)}")
        full = covariance.to(torch.complex128)
        scale = full.abs().max()
        if not torch.allclose(full, full.permute(2, 3, 0, 1).conj(), atol=1e-6 * float(scale), rtol=0):
            raise ValueError("covariance must be Hermitian: E H[k, s] H*[l, s'] = (E H[l, s'] H*[k, s])*")
        k, s = (index.flatten() for index in self.ofdm.pilots.coordinates())
        r_hp = full[:, :, k, s].flatten(0, 1)
        power, vectors = torch.linalg.eigh(full[k, s][:, k, s])
        if power[0] < -1e-6 * power[-1]:
            raise ValueError(
                f"covariance must be positive semidefinite, its least eigenvalue at the pilots is {power[0]:.3g}"
            )
        self.trace = float(torch.einsum("ksks->", full).real)
        self.register_buffer("basis", vectors, persistent=False)  # p × i
        self.register_buffer("spread", r_hp @ vectors, persistent=False)  # ks × i
        self.register_buffer("power", power.clamp_min(0), persistent=False)
        # What networks are compared with runs in their precision.
        self.register_buffer("basis_single", vectors.to(torch.complex64), persistent=False)
        self.register_buffer("spread_single", (r_hp @ vectors).to(torch.complex64), persistent=False)

    def filter(self, noise_var: float) -> Complex[Tensor, "k*s k_p*s_p"]:
        """W of one noise variance; rows k·S + s, columns p·S_p + q."""
        return (self.spread * self._gain(torch.tensor([noise_var]))[0]) @ self.basis.mH

    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        x = check_ls(ls, self.ofdm).flatten(1)
        gain = self._gain(noise_variances(noise_var, x)).to(x.real)
        single = x.dtype == torch.complex64
        basis, spread = (self.basis_single, self.spread_single) if single else (self.basis, self.spread)
        return (gain * (x @ basis.conj()) @ spread.T).unflatten(1, self.ofdm.shape)

    def forward(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        return self.estimate(ls, noise_var)

    def expected_nmse(self, noise_var: float) -> float:
        """The ratio E‖Ĥ − H‖² / E‖H‖² over channels that have this covariance; not in decibels."""
        gain = self._gain(torch.tensor([noise_var]))[0]
        explained = (self.spread.abs().square().sum(0) * gain).sum()
        return float(1 - explained / self.trace)

    def _gain(self, noise_var: Float[Tensor, "b"]) -> Float[Tensor, "b i"]:
        """1 / (λ_i + σ²); directions without power that even noise does not fill are left out."""
        total = self.power + noise_var.to(self.power)[:, None]
        return torch.where(total > 1e-12 * self.power[-1], 1 / total, 0.0)


class LMMSE2D(LinearMMSE):
    """The filter of the exact statistics of a delay profile and a prior of the Doppler shift.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        profile: a delay profile or its name. A mixture has no closed form here: give its covariance to `LinearMMSE`, or
            slots of it to `LMMSEEmpirical`.
        doppler: f_d in Hz, or the range it is uniform in.
        delay_spread: RMS delay spread in nanoseconds of a profile that scales.

    Example:
        >>> exact = LMMSE2D("nr_v2x_15", "EVA", doppler=(0.0, 1000.0))
        >>> wrong = LMMSEMismatched("nr_v2x_15", doppler=(0.0, 1000.0))
        >>> exact.expected_nmse(0.1) < 0.1
        True
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any],
        profile: DelayProfile | str,
        doppler: Doppler | None = None,
        delay_spread: float | None = None,
    ):
        ofdm = resolve_config(config)
        if not isinstance(profile, DelayProfile) and profile not in PROFILES:
            what = f"{profile!r} is not a single delay profile"
            raise ValueError(
                f"profile: {what}; a mixture needs its covariance, LinearMMSE(config, covariance), or slots of it, "
                f"LMMSEEmpirical(config, h). Profiles: {', '.join(PROFILES)}"
            )
        super().__init__(ofdm, covariance(ofdm, profile, doppler, delay_spread))


class LMMSEMismatched(LinearMMSE):
    """The filter of a receiver that knows the cyclic prefix and the range of the Doppler shift only.

    Powers are taken to be uniform over delays in [0, T_cp], and every path to have the Jakes spectrum:
    R_f[k, l] = sinc((f_k − f_l) T_cp) exp(−jπ (f_k − f_l) T_cp).

    Args:
        config: the grid and its pilots, or the name of a numerology.
        doppler: f_d in Hz, or the range it is uniform in.
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], doppler: Doppler):
        ofdm = resolve_config(config)
        phase = (ofdm.frequencies[:, None] - ofdm.frequencies) * ofdm.cp
        r_f = torch.polar(torch.sinc(phase), -torch.pi * phase)
        r_t = time_covariance(ofdm, "EVA", doppler)  # of any profile whose taps have the Jakes spectrum
        super().__init__(ofdm, torch.einsum("kl,st->kslt", r_f, r_t.to(torch.complex128)))


class LMMSEEmpirical(LinearMMSE):
    """The filter of the sample covariance of training channels; `mean E|H|²` is not normalised.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        h: channels of the ensemble, at least 2; the covariance has rank at most their number.
    """

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any], h: Complex[Tensor, "n k s"]):
        ofdm = resolve_config(config)
        if h.ndim != 3 or tuple(h.shape[1:]) != ofdm.shape or len(h) < 2:
            raise ValueError(
                f"h must hold at least 2 channels (n, {ofdm.n_subcarriers}, {ofdm.n_symbols}), got {tuple(h.shape)}; "
                "one channel would make the rank-one filter of a genie"
            )
        flat = h.flatten(1)
        sample = (flat.T @ flat.conj() / len(h)).to(torch.complex128)
        super().__init__(ofdm, ((sample + sample.mH) / 2).reshape(*ofdm.shape, *ofdm.shape))
