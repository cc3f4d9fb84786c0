"""A model whose answers are known: latent state = state, G = ω J − γ I."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from koopgen.model import KoopGen


def build(omega: float = 1.0, gamma: float = 0.1, dt: float = 0.1, m: int = 2) -> KoopGen:
    """ẋ = −γ x + ω J x exactly, J = [[0, −1], [1, 0]], in float64: bases that are all alike, no encoder and no decoder."""
    model = KoopGen(2, 2, dt=dt, m_skew=m, m_self=m, hidden=4, time_scale=1.0).double().eval()
    model.encoder, model.decoder = nn.Identity(), nn.Identity()
    with torch.no_grad():
        model.generator.skew.free.copy_(
            torch.tensor([0.3, omega]).reshape(2, 1, 1)
        )  # A = 0.3 drops out of the skew part
        model.generator.self_adjoint.free.copy_(torch.tensor([-gamma, 0.7]).reshape(2, 1, 1))
    return model


@pytest.fixture
def oscillator() -> Callable[..., KoopGen]:
    """Builds ẋ = −γ x + ω J x out of omega, gamma, dt, and the number m of bases of either kind."""
    return build
