"""The generalised Lipschitz radius ρ(T) from Lip(Tⁿ) (T1 of §3.2). Skeleton."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import RateEstimate
from .forward_ad import Map


def lip_power_rate(
    fn: Map,
    x: Float[Tensor, "b ..."],
    powers: Sequence[int] = (1, 2, 4, 8, 16),
    *,
    generator: torch.Generator | None = None,
) -> RateEstimate:
    """Lower bounds of Lip(fnⁿ) over the samples, and ρ."""
    raise NotImplementedError
