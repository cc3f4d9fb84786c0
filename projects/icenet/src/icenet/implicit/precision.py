"""Full precision for what happens inside a solver: residuals of 1e-3 mean nothing in bfloat16 or TF32 (10.9)."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.backends import cudnn


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32 convolutions on this device until the block ends.

    Products of matrices in TF32, which torch leaves off unless asked, are avoided by the solvers themselves.
    """
    on_cuda = device.type == "cuda"
    kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    exact = cudnn.flags(**kept, allow_tf32=False) if on_cuda else nullcontext()
    with torch.autocast(device.type, enabled=False), exact:
        yield
