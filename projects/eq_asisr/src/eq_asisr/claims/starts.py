"""Where a claim starts: the device of its scale, a seed for every purpose, networks drawn under a seed of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from tenfold.claims import Scale

T = TypeVar("T")


def device_for(scale: Scale) -> torch.device:
    """The CPU for smoke and cpu, CUDA for gpu and paper; never a fallback.

    Raises:
        RuntimeError: if the scale needs CUDA and there is no device.
    """
    if scale in (Scale.SMOKE, Scale.CPU):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"scale {scale} needs a CUDA device and there is none; run scale smoke or cpu instead"
        )
    return torch.device("cuda")


def derive(seed: int, purpose: int) -> int:
    """A seed for one purpose of one run; different for every pair of a seed and a purpose below 1000.

    >>> derive(2, 7)
    2007
    """
    if not 0 <= purpose < 1000:
        raise ValueError(f"purpose must lie between 0 and 999, got {purpose}")
    return 1000 * seed + purpose


def seeded(seed: int, make: Callable[[], T]) -> T:
    """What `make` draws under `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in convolutions and matrix products on CUDA; restored behind."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
