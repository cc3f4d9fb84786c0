"""What every estimator has in common: least-squares estimates at the pilots in, the channel of the whole slot out (§3.1, §4.4).

    y = h x + n at a pilot,  LS = y / x = h + n / x,  |x| = 1,  hence  LS ~ h + CN(0, σ²)

The pilots of a slot form an array of K_p subcarriers × S_p symbols. On a staggered lattice the subcarriers of column q
depend on q, so the array is not a sub-grid; `icenet.estimators.lattice` knows where each entry lies.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from icenet.ofdm.config import NUMEROLOGIES, OFDMConfig, get_numerology
from tenfold.checkpoint import PretrainedMixin

NoiseVariance = float | Float[Tensor, "b"] | None
"""σ² per resource element, one for all slots or one a slot; None where an estimator does without."""


@runtime_checkable
class Estimator(Protocol):
    """Anything that fills the grid: a formula or a network."""

    @property
    def ofdm(self) -> OFDMConfig:
        """The grid and its pilots."""
        ...

    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        """The channel on the whole grid; no gradients, evaluation mode.

        Args:
            ls: least-squares estimates at the pilots.
            noise_var: σ² per resource element, for estimators that use it.
        """
        ...


class NetworkEstimator(PretrainedMixin, nn.Module):
    """A network between real planes: subclasses write `network`, and keep their arguments in `self.config`.

    Args:
        config: the grid and its pilots, or the name of a numerology.

    Shapes: `forward` takes complex (b, k_p, s_p) or its real and imaginary planes (b, 2, k_p, s_p); gives complex (b, k, s).
    """

    ofdm: OFDMConfig
    config: dict[str, Any]

    def __init__(self, config: OFDMConfig | str | Mapping[str, Any]):
        super().__init__()
        self.ofdm = resolve_config(config)

    def network(self, x: Float[Tensor, "b 2 k_p s_p"]) -> Float[Tensor, "b 2 k s"]:
        """Planes of the pilots to planes of the grid."""
        raise NotImplementedError(f"{type(self).__name__} must define network")

    def forward(
        self, ls: Complex[Tensor, "b k_p s_p"] | Float[Tensor, "b 2 k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        return to_complex(self.network(to_planes(check_ls(ls, self.ofdm))))

    @torch.no_grad()
    def estimate(
        self, ls: Complex[Tensor, "b k_p s_p"], noise_var: NoiseVariance = None
    ) -> Complex[Tensor, "b k s"]:
        """As `forward`, in evaluation mode and without gradients; the mode is put back afterwards."""
        training = self.training
        self.eval()
        try:
            return self(ls, noise_var)
        finally:
            self.train(training)


def resolve_config(config: OFDMConfig | str | Mapping[str, Any]) -> OFDMConfig:
    """The configuration that a name, a configuration, or its plain values (`plain_config`) stand for."""
    if isinstance(config, Mapping):
        return OFDMConfig.from_dict(dict(config))
    return get_numerology(config)


def plain_config(config: OFDMConfig) -> str | dict[str, Any]:
    """A configuration as JSON values, its name if it is a numerology: what `resolve_config` and a saved model read.

    >>> plain_config(NUMEROLOGIES["nr_v2x_15"])
    'nr_v2x_15'
    """
    return next((name for name, known in NUMEROLOGIES.items() if known == config), None) or config.to_dict()


def check_positive(**sizes: int) -> None:
    """Raise a ValueError that names the first size below 1."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_ls(
    ls: Complex[Tensor, "b k_p s_p"] | Float[Tensor, "b 2 k_p s_p"], config: OFDMConfig
) -> Complex[Tensor, "b k_p s_p"]:
    """`ls` as complex numbers.

    Raises:
        TypeError: `ls` is neither complex nor real planes.
        ValueError: its shape does not fit the pilots, or a value is NaN or infinite.
    """
    k_p, s_p = config.pilots.shape
    wanted = f"complex (b, {k_p}, {s_p}), or real planes (b, 2, {k_p}, {s_p})"
    if not isinstance(ls, Tensor) or not (ls.is_complex() or ls.is_floating_point()):
        given = f"a tensor of {ls.dtype}" if isinstance(ls, Tensor) else type(ls).__name__
        raise TypeError(f"ls must be {wanted}, got {given}")
    expected = (k_p, s_p) if ls.is_complex() else (2, k_p, s_p)
    if tuple(ls.shape[1:]) != expected:
        raise ValueError(
            f"ls must be {wanted}, got {'complex' if ls.is_complex() else 'real'} {tuple(ls.shape)}"
        )
    if not torch.compiler.is_compiling():
        finite = torch.isfinite(ls).flatten(1).all(1)
        if not bool(finite.all()):
            raise ValueError(
                f"ls holds NaN or infinite values in the slots {(~finite).nonzero()[:, 0].tolist()}"
            )
    return ls if ls.is_complex() else to_complex(ls)


def noise_variances(noise_var: NoiseVariance, ls: Complex[Tensor, "b k_p s_p"]) -> Float[Tensor, "b"]:
    """σ² per slot, on the device and in the real precision of `ls`.

    Raises:
        ValueError: it is missing, negative, not finite, or its length is not the batch's.
    """
    if noise_var is None:
        raise ValueError("noise_var is needed here: σ² per resource element, a number or one for each slot")
    values = torch.as_tensor(noise_var).to(device=ls.device, dtype=ls.real.dtype)
    if values.ndim > 1 or (values.ndim == 1 and len(values) not in (1, len(ls))):
        raise ValueError(
            f"noise_var must be a number or have one entry for each of the {len(ls)} slots, got shape {tuple(values.shape)}"
        )
    if not bool(((values >= 0) & torch.isfinite(values)).all()):
        raise ValueError(f"noise_var must be finite and not negative, got {noise_var}")
    return values.expand(len(ls))


def to_planes(x: Complex[Tensor, "b k s"]) -> Float[Tensor, "b 2 k s"]:
    """Real and imaginary part as two channels."""
    return torch.stack((x.real, x.imag), dim=1)


def to_complex(x: Float[Tensor, "b 2 k s"]) -> Complex[Tensor, "b k s"]:
    """Two channels as real and imaginary part."""
    return torch.complex(x[:, 0], x[:, 1])
