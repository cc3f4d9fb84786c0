"""The networks of the claims, and what each one minimises."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..estimators.base import NetworkEstimator
from ..estimators.icenet import ICENet
from ..metrics import nmse
from ..ofdm.channel import Slots
from .setting import Setting
from .training import Contender

TRAINING_CAP = 20
"""τ while training (§5: 16 to 30); at test time it is an argument."""

GAMMA_J = 1.0
"""Weight of the Jacobian penalty of the `resnet` cell (§3.5: 0.5 to 2)."""


def plain_objective(model: NetworkEstimator, slots: Slots) -> Tensor:
    """NMSE of the batch, a ratio of sums (10.10)."""
    return nmse(model(slots.ls, slots.noise_var), slots.h)


def implicit_objective(model: NetworkEstimator, slots: Slots) -> Tensor:
    """The same plus the Jacobian penalty, if the network has one."""
    estimate, info = model(slots.ls, slots.noise_var, tau=TRAINING_CAP, return_info=True)
    return nmse(estimate, slots.h) + info.penalty


def icenet(setting: Setting, size: str, name: str = "ICENet", **options: Any) -> Contender:
    """ICENet of a size; options as in `ICENet`."""
    return Contender(name, lambda: ICENet.of_size(size, setting.config, **options), implicit_objective)


def explicit(name: str, build: Callable[[], NetworkEstimator]) -> Contender:
    """A network of fixed depth."""
    return Contender(name, build, plain_objective)
