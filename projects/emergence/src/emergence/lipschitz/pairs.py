"""Ratios of distances after and before a map, over pairs of samples (§3.6d, §3.7). Skeleton."""

import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import PairStats
from .forward_ad import Map


def empirical_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    pairs: str = "all",
    n_pairs: int = 4096,
    min_dist: float = 1e-4,
    generator: torch.Generator | None = None,
) -> PairStats:
    """Statistics of ‖fn x_i − fn x_j‖ / ‖x_i − x_j‖; pairs closer than min_dist times the median are skipped."""
    raise NotImplementedError


def pair_statistics(
    x: Float[Tensor, "b ..."],
    y: Float[Tensor, "b ..."],
    *,
    pairs: str = "all",
    n_pairs: int = 4096,
    min_dist: float = 1e-4,
    generator: torch.Generator | None = None,
) -> PairStats:
    """The same for points x whose images y are at hand (e.g. the tokens of two successive layers)."""
    raise NotImplementedError
