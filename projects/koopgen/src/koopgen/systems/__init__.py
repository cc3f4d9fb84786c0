"""The systems of the paper and three more, each ready to generate data: `SYSTEMS["lorenz63"].generate(n, steps, seed)`."""

from .cache import cache_folder, cached_trajectories
from .duffing import Duffing
from .kuramoto_sivashinsky import KuramotoSivashinsky
from .lorenz63 import Lorenz63
from .lorenz96 import Lorenz96
from .pendulum import DampedPendulum, Pendulum
from .presets import SYSTEMS, get_system
from .system import DivergedError, ODESystem, Reference, System
from .van_der_pol import VanDerPol

__all__ = [
    "SYSTEMS",
    "DampedPendulum",
    "DivergedError",
    "Duffing",
    "KuramotoSivashinsky",
    "Lorenz63",
    "Lorenz96",
    "ODESystem",
    "Pendulum",
    "Reference",
    "System",
    "VanDerPol",
    "cache_folder",
    "cached_trajectories",
    "get_system",
]
