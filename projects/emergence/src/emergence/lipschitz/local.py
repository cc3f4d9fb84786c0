"""‖J(x)‖₂ at each sample: power iteration, Lanczos, or the singular values of the whole Jacobian (§3.7, §3.8)."""

import torch
from jaxtyping import Float
from torch import Tensor

from .estimates import LipEstimate
from .forward_ad import Map


def local_lipschitz(
    fn: Map,
    x: Float[Tensor, "b ..."],
    *,
    norm: str = "l2",
    method: str = "power",
    n_iter: int = 50,
    tol: float = 1e-4,
    n_vectors: int = 1,
    products: str = "forward",
    isolate: bool = True,
    failure: float = 1e-6,
    generator: torch.Generator | None = None,
) -> LipEstimate:
    """Bounds of ‖J(x)‖₂ for each sample of x (b, *shape); fn maps batches to batches. Skeleton."""
    raise NotImplementedError


def smallest_singular_value(
    fn: Map, x: Float[Tensor, "b ..."], *, isolate: bool = True
) -> Float[Tensor, "b"]:
    """l(T) locally: the least singular value of J(x), exact. Skeleton."""
    raise NotImplementedError
