"""The parsimony regulariser of §3.6: explain by rotation first, ‖G_d‖_F counts.

Off by default. Skew and self-adjoint parts are not unique: another latent norm shifts growth from one to the other (10.3). The
penalty picks, among models that fit alike, one whose latent norm changes least.
"""

from jaxtyping import Float
from torch import Tensor

from .model import GeneratorModel


def parsimony_penalty(model: GeneratorModel, x: Float[Tensor, "*b n_x"]) -> Float[Tensor, ""]:
    """Mean over states of the Frobenius norm ‖Δt G_d(Φ(x))‖_F: the self-adjoint change in one sampling interval.

    Args:
        model: a model with a generator.
        x: states in physical units.

    Raises:
        TypeError: if the model has no generator.

    Example:
        >>> import torch
        >>> from koopgen.model import KoopGen
        >>> model = KoopGen(2, 2, dt=0.05, m_skew=2, m_self=0, dissipation="none", hidden=8)
        >>> parsimony_penalty(model, torch.randn(5, 2)).item()
        0.0
    """
    if not isinstance(model, GeneratorModel):
        raise TypeError(f"{type(model).__name__} has no generator whose self-adjoint part could be penalised")
    parts = model.generator.parts(model.encode(x))
    return float(model.dt) * parts.self_adjoint.flatten(-2).norm(dim=-1).mean()
