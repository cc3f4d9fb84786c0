"""The paper's idea as a module. This one is a stand-in, small enough to be read at once; replace it.

Say which equation of which section it implements:

    y = x + W x + b
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualLinear(nn.Module):
    """A linear layer that adds what it computes to what it gets.

    Args:
        features: size of the last axis of input and output.

    Example:
        >>> layer = ResidualLinear(3)
        >>> layer(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, features: int):
        super().__init__()
        if features < 1:
            raise ValueError(f"features must be at least 1, got {features}")
        self.weight = nn.Parameter(torch.empty(features, features))
        self.bias = nn.Parameter(torch.zeros(features))
        nn.init.normal_(self.weight, std=features**-0.5)

    def forward(self, x: Float[Tensor, "... features"]) -> Float[Tensor, "... features"]:
        features = len(self.bias)
        if x.shape[-1] != features:
            raise ValueError(f"x has {x.shape[-1]} features, this layer takes {features}")
        return x + F.linear(x, self.weight, self.bias)
