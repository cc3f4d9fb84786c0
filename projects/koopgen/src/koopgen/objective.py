"""What a training step minimises: the loss of §3.6 on windows, and the reconstruction of the warm-up (§5)."""

from jaxtyping import Float
from torch import Tensor

from .latent import LatentModel
from .losses import KoopGenLoss, LossTerms


def window_loss(criterion: KoopGenLoss, model: LatentModel, x: Float[Tensor, "b t n_x"]) -> LossTerms:
    """One roll-out from the first sample of each window, compared with the window in both spaces, in normalised units.

    Args:
        criterion: the distance and its weights.
        model: any model of this package.
        x: windows in physical units.

    Raises:
        ValueError: if x has not three axes, or a window is one sample long.
    """
    if x.ndim != 3 or x.shape[1] < 2:
        raise ValueError(
            f"x must be windows (B, T, {model.n_x}) of at least 2 samples, got shape {tuple(x.shape)}"
        )
    target = model.scaler.normalize(x)
    latent = model.encoder(target)
    rolled = model.rollout(latent[:, 0], steps=x.shape[1] - 1)
    rebuilt = model.decoder(latent) if criterion.w_rec else None
    return criterion(model.decoder(rolled), target, rolled, latent, rebuilt)


def reconstruction_loss(model: LatentModel, x: Float[Tensor, "b n_x"]) -> Float[Tensor, ""]:
    """‖Ψ(Φ(x)) − x‖ / ‖x‖ over a batch of states, in normalised units."""
    target = model.scaler.normalize(x)
    return (model.decoder(model.encoder(target)) - target).norm() / target.norm().clamp_min(1e-6)
