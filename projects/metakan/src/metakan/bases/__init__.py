"""Bases of univariate functions: B-splines, radial functions, wavelets and three polynomial families."""

from .basis import Basis
from .polynomial import ChebyshevBasis, GramBasis, LegendreBasis
from .radial import RBFBasis
from .spline import BSplineBasis
from .wavelet import WaveletBasis

__all__ = [
    "BSplineBasis",
    "Basis",
    "ChebyshevBasis",
    "GramBasis",
    "LegendreBasis",
    "RBFBasis",
    "WaveletBasis",
]
