"""The systems by name, as §6 samples them."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .duffing import Duffing
from .kuramoto_sivashinsky import KuramotoSivashinsky
from .lorenz63 import Lorenz63
from .lorenz96 import Lorenz96
from .pendulum import DampedPendulum, Pendulum
from .system import System
from .van_der_pol import VanDerPol

_ALL: tuple[System, ...] = (
    Pendulum(),
    Pendulum(name="pendulum_lusch", dt=0.02),  # the predecessor's sampling of the same box
    DampedPendulum(),
    Duffing(),
    Duffing(name="duffing_conservative", damping=0.0),
    VanDerPol(),
    Lorenz63(),
    Lorenz96(),
    Lorenz96(name="lorenz96_strong", forcing=10.0),
    Lorenz96(name="lorenz96_d20", dimension=20),
    Lorenz96(name="lorenz96_d10", dimension=10),
    Lorenz96(name="lorenz96_d5", dimension=5),
    KuramotoSivashinsky(),
    KuramotoSivashinsky(name="ks_35", length=35.0, points=96),
    KuramotoSivashinsky(name="ks_60", length=60.0, points=128),
    # Twenty steps of spin-up from coefficients of size one of an unnormalised transform (our reading of "tiny").
    KuramotoSivashinsky(
        name="ks_8pi_sibling", length=8 * math.pi, points=128, burn_in=5.0, amplitude=2 / 128
    ),
)

SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in _ALL})


def get_system(name: str, **options: Any) -> System:
    """The system of that name, with some parameters changed.

    >>> get_system("lorenz96", dimension=10).n_x
    10

    Raises:
        ValueError: unknown name, or a parameter the system does not have.
    """
    if name not in SYSTEMS:
        raise ValueError(f"unknown system {name!r}; known: {', '.join(SYSTEMS)}")
    known = {field.name for field in dataclasses.fields(SYSTEMS[name])}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return SYSTEMS[name].with_options(**options)
