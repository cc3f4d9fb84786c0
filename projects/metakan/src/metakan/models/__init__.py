"""Networks of edge functions, fully connected and convolutional, and the MLP they are compared with."""

from .build import MODELS, build_model
from .convnets import BACKBONES, ConvKANNet, MetaConvKANNet
from .families import FAMILIES, make_basis
from .networks import KAN, MLP, MetaKAN

__all__ = [
    "BACKBONES", "FAMILIES", "KAN", "MLP", "MODELS", "ConvKANNet", "MetaConvKANNet", "MetaKAN", "build_model", "make_basis",
]  # fmt: skip
