"""The estimators without weights that the claims compare with, each with the statistics of a setting and nothing else."""

import torch
from torch import nn

from ..estimators.base import Estimator
from ..estimators.lmmse import LMMSE2D, LMMSEMismatched
from ..estimators.ls import LSLinear
from .setting import CPU, Setting

LS, EXACT, MISMATCHED = "LS, linear", "LMMSE, exact", "LMMSE, mismatched"


def ls_linear(setting: Setting, device: torch.device = CPU) -> Estimator:
    """Linear interpolation on true coordinates."""
    return _moved(LSLinear(setting.config), device)


def lmmse_exact(setting: Setting, device: torch.device = CPU) -> Estimator:
    """The filter of the ensemble the slots are drawn from (10.2)."""
    exact = LMMSE2D(setting.config, setting.profile, setting.doppler, setting.delay_spread)
    return _moved(exact, device)


def lmmse_mismatched(setting: Setting, device: torch.device = CPU) -> Estimator:
    """The filter of a receiver that knows the cyclic prefix and the range of Doppler frequencies."""
    return _moved(LMMSEMismatched(setting.config, setting.doppler), device)


def formulas(setting: Setting, device: torch.device = CPU) -> dict[str, Estimator]:
    """All three by name."""
    return {
        LS: ls_linear(setting, device),
        EXACT: lmmse_exact(setting, device),
        MISMATCHED: lmmse_mismatched(setting, device),
    }


def _moved(estimator: Estimator, device: torch.device) -> Estimator:
    if isinstance(estimator, nn.Module):
        estimator.to(device)
    return estimator
