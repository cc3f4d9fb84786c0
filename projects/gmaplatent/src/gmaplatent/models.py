"""Networks built from the layer, and the baselines they are compared with."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from .layers import ResidualLinear


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


class Classifier(PretrainedMixin, nn.Module):
    """Ours: a classifier of `depth` residual layers.

    Args:
        in_features: size of the flattened input.
        n_classes: number of classes.
        width: features between the layers.
        depth: number of residual layers.

    Example:
        >>> import torch
        >>> Classifier(64, 10, width=8)(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_features: int, n_classes: int, width: int = 32, depth: int = 2):
        super().__init__()
        _check_sizes(in_features=in_features, n_classes=n_classes, width=width, depth=depth)
        self.config = {"in_features": in_features, "n_classes": n_classes, "width": width, "depth": depth}
        self.stem = nn.Linear(in_features, width)
        self.layers = nn.ModuleList(ResidualLinear(width) for _ in range(depth))
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Float[Tensor, "n in_features"]) -> Float[Tensor, "n n_classes"]:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(F.relu(x))
        return self.head(F.relu(x))


class MLP(PretrainedMixin, nn.Module):
    """The baseline: the same sizes with plain linear layers.

    Args:
        in_features: size of the flattened input.
        n_classes: number of classes.
        width: features between the layers.
        depth: number of hidden layers.

    Example:
        >>> import torch
        >>> MLP(64, 10, width=8)(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_features: int, n_classes: int, width: int = 32, depth: int = 2):
        super().__init__()
        _check_sizes(in_features=in_features, n_classes=n_classes, width=width, depth=depth)
        self.config = {"in_features": in_features, "n_classes": n_classes, "width": width, "depth": depth}
        sizes = [in_features, *[width] * (depth + 1)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Float[Tensor, "n in_features"]) -> Float[Tensor, "n n_classes"]:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)
