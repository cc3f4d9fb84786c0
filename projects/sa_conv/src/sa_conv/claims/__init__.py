"""What the paper claims, measured: K1 alignment, K2 theory, K3 denoising, K4 super-resolution, K5 deraining, K6 warm
starts, K7 cost, and the control "TL continued" (C1)."""

from sa_conv.claims.alignment import dataset_level, isotropic, sample_level, sample_level_equivariant
from sa_conv.claims.cost import cheap_adaptivity
from sa_conv.claims.denoising import denoise_photographs
from sa_conv.claims.deraining import derain_photographs
from sa_conv.claims.superresolution import super_resolve_photographs
from sa_conv.claims.theory import theory_holds
from sa_conv.claims.trained_equivariance import trained_networks
from sa_conv.claims.warm_start import continued, loss_free

__all__ = [
    "cheap_adaptivity",
    "continued",
    "dataset_level",
    "denoise_photographs",
    "derain_photographs",
    "isotropic",
    "loss_free",
    "sample_level",
    "sample_level_equivariant",
    "super_resolve_photographs",
    "theory_holds",
    "trained_networks",
]
