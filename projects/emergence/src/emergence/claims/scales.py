"""What all claims share: the device of a scale, seeds of their own, a criterion in words."""

from collections.abc import Iterable

import torch

from tenfold.claims import Scale


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


def derive(seed: int, count: int) -> list[int]:
    """`count` seeds of a claim seed; different claim seeds share none."""
    return [1000 * seed + i for i in range(count)]


def in_words(conditions: Iterable[str]) -> str:
    """The names of conditions as a criterion: "a_at_least_2", "b" -> "a at least 2; b"."""
    return "; ".join(name.replace("_", " ") for name in conditions)
