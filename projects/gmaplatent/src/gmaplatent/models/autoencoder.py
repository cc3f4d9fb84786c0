"""Convolutional autoencoders: an image to a code of d numbers and back (§4).

Each domain has its own, trained alone; what follows sees nothing but its codes. Convolutions are 4 × 4 with stride 2, so
that every stage halves the image.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

Loss = Literal["mse", "bce"]


class Autoencoder(PretrainedMixin, nn.Module):
    """What both autoencoders share; use `GreyAutoencoder` or `ColourAutoencoder`.

    Attributes:
        shape: channels, height, width of an image.
        d: dimension of a code.
        head: linear map from codes to the clusters' logits, or None.
    """

    shape: tuple[int, int, int]
    d: int
    encoder: nn.Module
    decoder: nn.Module
    head: nn.Linear | None

    def encode(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Codes of images in [0, 1].

        Raises:
            ValueError: for images of another shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])} (channels, height, width), this autoencoder takes {self.shape}"
            )
        return self.encoder(x)

    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Images in [0, 1] of codes.

        Raises:
            ValueError: for codes of another dimension.
        """
        if z.ndim != 2 or z.shape[1] != self.d:
            raise ValueError(f"codes have shape {tuple(z.shape)}, this autoencoder takes (n, {self.d})")
        return self.decoder(z)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return self.decode(self.encode(x))


class GreyAutoencoder(Autoencoder):
    """32 × 32 grey images; three stages of 32, 64, 128 channels, 0.40 M parameters at d = 16.

    Args:
        d: dimension of the codes; 2, 16 and 64 are the variants of §4.
        n_clusters: of the auxiliary head; 0 for none, which is the faithful form.

    Example:
        >>> model = GreyAutoencoder(d=16)
        >>> model.encode(torch.zeros(2, 1, 32, 32)).shape, model(torch.zeros(2, 1, 32, 32)).shape
        (torch.Size([2, 16]), torch.Size([2, 1, 32, 32]))
    """

    def __init__(self, d: int = 16, n_clusters: int = 0):
        super().__init__()
        _check(d, n_clusters)
        self.config = {"d": d, "n_clusters": n_clusters}
        self.shape, self.d = (1, 32, 32), d
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.BatchNorm2d(64),
            nn.LeakyReLU(0.1),
            nn.Conv2d(64, 128, 4, 2, 1),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(2048, d),
        )
        self.decoder = nn.Sequential(
            nn.Linear(d, 2048),
            nn.ReLU(),
            nn.Unflatten(1, (128, 4, 4)),
            nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
            nn.Sigmoid(),
        )
        self.head = nn.Linear(d, n_clusters) if n_clusters else None


class ColourAutoencoder(Autoencoder):
    """RGB images after AE-OT: stages of f, 2f, 4f, 8f channels down to 4 × 4, then one 4 × 4 convolution to the code.

    Works in [-1, 1] inside (tanh at the end), [0, 1] outside. Sizes 32, 64, 128, 256 have 3, 4, 5, 6 stages; from the
    fourth on the channels stay 8f.

    Args:
        size: height and width: 32, 64, 128 or 256.
        d: dimension of the codes; 100 in AE-OT.
        width: f, channels of the first stage; 80 in AE-OT, 32 is for CPUs.
        n_clusters: of the auxiliary head; 0 for none.

    Example:
        >>> model = ColourAutoencoder(size=32, d=64, width=8)
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, size: int = 64, d: int = 100, width: int = 32, n_clusters: int = 0):
        super().__init__()
        _check(d, n_clusters)
        if size not in (32, 64, 128, 256):
            raise ValueError(f"size must be 32, 64, 128 or 256, got {size}")
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.config = {"size": size, "d": d, "width": width, "n_clusters": n_clusters}
        self.shape, self.d = (3, size, size), d
        stages = size.bit_length() - 3  # 32 -> 3, 256 -> 6
        channels = [width * min(2**i, 8) for i in range(stages)]
        down: list[nn.Module] = [_Rescale(2.0, -1.0)]
        for i, (a, b) in enumerate(zip([3, *channels[:-1]], channels)):
            down += [nn.Conv2d(a, b, 4, 2, 1), *([nn.BatchNorm2d(b)] if i else []), nn.LeakyReLU(0.1)]
        self.encoder = nn.Sequential(*down, nn.Conv2d(channels[-1], d, 4), nn.Flatten())
        up: list[nn.Module] = [
            nn.Unflatten(1, (d, 1, 1)),
            nn.ConvTranspose2d(d, channels[-1], 4),
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(),
        ]
        for a, b in zip(channels[:0:-1], channels[-2::-1]):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        up += [nn.ConvTranspose2d(channels[0], 3, 4, 2, 1), nn.Tanh(), _Rescale(0.5, 0.5)]
        self.decoder = nn.Sequential(*up)
        self.head = nn.Linear(d, n_clusters) if n_clusters else None


class _Rescale(nn.Module):
    """scale · x + shift."""

    def __init__(self, scale: float, shift: float):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.scale * x + self.shift


def reconstruction_loss(
    model: Autoencoder,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, "n"] | None = None,
    *,
    kind: Loss = "mse",
    sparsity: float = 1e-5,
    cluster_weight: float = 0.0,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """What an autoencoder is trained on (§5): reconstruction + sparsity · mean ‖z‖₁ + cluster_weight · cross entropy.

    Args:
        model: with a head if `cluster_weight` > 0.
        images: values in [0, 1].
        labels: clusters; needed for the head alone.
        kind: "mse", or "bce", the cross entropy of every pixel (grey images).
        sparsity: 1e-5 in AE-OT.
        cluster_weight: 0, or 0.1 with the auxiliary head (§4).

    Returns:
        The loss, and its terms by name: "reconstruction", and "clusters" where there is a head.

    Raises:
        ValueError: for another kind, or a head without weight, labels, or the other way round.
    """
    if kind not in ("mse", "bce"):
        raise ValueError(f"kind must be 'mse' or 'bce', got {kind!r}")
    if (cluster_weight > 0) != (model.head is not None):
        raise ValueError(
            f"cluster_weight is {cluster_weight}, and the model has {'a' if model.head else 'no'} cluster head: "
            "give n_clusters to the model and a weight above 0, or neither"
        )
    codes = model.encode(images)
    decoded = model.decode(codes)
    distance = F.mse_loss if kind == "mse" else _pixel_cross_entropy
    terms = {"reconstruction": distance(decoded, images)}
    loss = terms["reconstruction"] + sparsity * codes.abs().sum(1).mean()
    if model.head is not None:
        if labels is None:
            raise ValueError("labels are needed to train the cluster head")
        terms["clusters"] = F.cross_entropy(model.head(codes), labels)
        loss = loss + cluster_weight * terms["clusters"]
    return loss, terms


def _pixel_cross_entropy(
    decoded: Float[Tensor, "n c h w"], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, ""]:
    # Autocast refuses the logarithm of half-precision probabilities, and rightly so.
    with torch.autocast(decoded.device.type, enabled=False):
        return F.binary_cross_entropy(decoded.to(images.dtype), images)


def _check(d: int, n_clusters: int) -> None:
    if d < 1:
        raise ValueError(f"d must be at least 1, got {d}")
    if n_clusters < 0:
        raise ValueError(f"n_clusters must be at least 0, got {n_clusters}")
