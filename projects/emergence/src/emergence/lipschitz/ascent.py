"""Gradient ascent on ‖J(x)‖₂ over x: a better lower bound of the global constant (§3.7). Skeleton."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import LipEstimate
from .forward_ad import Map


def ascend_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    n_steps: int = 50,
    step: float = 0.1,
    project: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[LipEstimate, Float[Tensor, "b ..."]]:
    """The estimate at the points where the ascent from x ended, and these points."""
    raise NotImplementedError
