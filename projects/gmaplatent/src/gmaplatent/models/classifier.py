"""The classifier that judges translations: trained on real images of the target, never on translated ones (§4)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin


class ImageClassifier(PretrainedMixin, nn.Module):
    """Three 3 × 3 convolutions of w, 2w, 4w channels, each halved by pooling, then a layer of features and the logits.

    `features` are what `fid_clf` compares; they are not those of an Inception network.

    Args:
        in_channels: of the images.
        n_classes: K.
        size: height and width, a multiple of 8.
        width: w; 32 in §4.
        n_features: numbers in a feature vector.

    Example:
        >>> import torch
        >>> model = ImageClassifier(1, 10)
        >>> x = torch.zeros(2, 1, 32, 32)
        >>> model(x).shape, model.features(x).shape
        (torch.Size([2, 10]), torch.Size([2, 64]))
    """

    def __init__(
        self, in_channels: int, n_classes: int, size: int = 32, width: int = 32, n_features: int = 64
    ):
        super().__init__()
        sizes = {"in_channels": in_channels, "n_classes": n_classes, "width": width, "n_features": n_features}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if size < 8 or size % 8:
            raise ValueError(f"size must be a multiple of 8, got {size}")
        self.config = sizes | {"size": size}
        self.shape, self.n_classes = (in_channels, size, size), n_classes
        stages: list[nn.Module] = []
        for a, b in ((in_channels, width), (width, 2 * width), (2 * width, 4 * width)):
            # No bias: the normalisation that follows would take it out again.
            stages += [
                nn.Conv2d(a, b, 3, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.stages = nn.Sequential(*stages, nn.Flatten())
        self.hidden = nn.Linear(4 * width * (size // 8) ** 2, n_features)
        self.head = nn.Linear(n_features, n_classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The last layer before the logits.

        Raises:
            ValueError: for images of another shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"images have shape {tuple(x.shape[1:])} (channels, height, width), this classifier takes {self.shape}"
            )
        return F.relu(self.hidden(self.stages(x)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n n_classes"]:
        return self.head(self.features(x))
