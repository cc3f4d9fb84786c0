"""Checks of arguments shared by the layers and networks; every message names the argument, its value and the mend."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_positive(**values: int) -> None:
    """Raise unless each named value is an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_range(name: str, value: Sequence[float]) -> tuple[float, float]:
    """Return `value` as (low, high); raise unless both are finite and low < high."""
    if len(value) != 2:
        raise ValueError(f"{name} must be a pair (low, high), got {tuple(value)}")
    low, high = float(value[0]), float(value[1])
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ValueError(f"{name} must be finite with low < high, got ({low}, {high})")
    return low, high


def check_probability(name: str, value: float) -> None:
    """Raise unless 0 <= value < 1."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


def check_input(x: Tensor, features: int, dim: int, what: str, finite: bool = False) -> None:
    """Raise unless `x` is floating point and has `features` entries along `dim` (and is finite, if asked)."""
    if not torch.is_floating_point(x):
        raise TypeError(f"x must be a floating-point tensor, got {x.dtype}; use x.float()")
    if x.dim() < abs(dim) or x.shape[dim] != features:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; this layer takes {features} {what} along dimension {dim}"
        )
    if finite and not bool(torch.isfinite(x).all()):
        raise ValueError(
            "x has NaN or infinite entries (check_finite=True); clean the data or pass check_finite=False"
        )
