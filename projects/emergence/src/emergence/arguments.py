"""Checks of arguments shared by the modules of this package; every message names the argument, its value and the mend."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_positive(**values: int) -> None:
    """Raise unless each named value is an integer of at least 1."""
    for name, value in values.items():
        check_count(**{name: value})
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_count(**values: int) -> None:
    """Raise unless each named value is an integer of at least 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_above_zero(**values: float) -> None:
    """Raise unless each named value is finite and above 0."""
    for name, value in values.items():
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{name} must be finite and above 0, got {value}")


def check_open_unit(**values: float) -> None:
    """Raise unless each named value lies strictly between 0 and 1."""
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")


def check_finite(name: str, x: Tensor) -> None:
    """Raise if `x` has NaN or infinite entries, saying how many and where the first one is."""
    bad = ~torch.isfinite(x)
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{name} has {int(bad.sum())} NaN or infinite entries, the first at index {first}; drop or mend them"
        )


def check_points(name: str, x: Tensor, least: int = 1) -> None:
    """Raise unless `x` is a finite float32 or float64 tensor of at least `least` samples, shape (b, ...)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(x).__name__}; use torch.as_tensor")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} is {x.dtype}, whose precision does not carry these estimates; "
            f"use {name}.double() (and module.double())"
        )
    if x.dim() < 2 or len(x) < least or x[0].numel() < 1:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; it must be (samples, ...) with at least {least} sample(s), "
            f"a single sample goes in as {name}.unsqueeze(0)"
        )
    check_finite(name, x)
