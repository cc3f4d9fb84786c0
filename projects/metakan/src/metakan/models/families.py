"""The six families of edge functions by name, with the surroundings the paper gives each (notes sections 3.7, 3.8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..arguments import check_choice
from ..bases import Basis, BSplineBasis, ChebyshevBasis, GramBasis, LegendreBasis, RBFBasis, WaveletBasis


@dataclass(frozen=True)
class Family:
    """What surrounds a basis: base functions, and normalisation and activation of linear and convolution layers."""

    basis: Callable[..., Basis]
    base: str | None = "silu"
    conv_base: str | None = "silu"
    input_norm: str | None = None
    output_norm: str | None = None
    conv_norm: str = "batch"
    conv_norm_position: str = "output"
    conv_act: str | None = None


FAMILIES = {
    "spline": Family(BSplineBasis, conv_base="gelu", conv_act="prelu"),
    "rbf": Family(RBFBasis, input_norm="layer", conv_norm="instance", conv_norm_position="input"),
    "wavelet": Family(WaveletBasis, base=None, conv_base=None, output_norm="batch"),
    "legendre": Family(LegendreBasis, conv_norm="instance", conv_act="silu"),
    "gram": Family(GramBasis, conv_norm="instance", conv_act="silu"),
    "chebyshev": Family(ChebyshevBasis, base=None, conv_base=None),
}


def make_basis(
    name: str,
    grid_size: int = 5,
    spline_order: int = 3,
    grid_range: tuple[float, float] = (-1.0, 1.0),
    basis_options: Mapping[str, Any] | None = None,
) -> Basis:
    """A basis by the name of its family; grid arguments apply to "spline", `basis_options` to the others.

    Options: rbf n_centers, value_range; wavelet kind; legendre degree, scaling; gram and chebyshev degree.

    Raises:
        ValueError: for an unknown name, or splines of order 0: they are constant on every cell, so that no layer before
            them gets a gradient through them. (`BSplineBasis(5, 0)` itself exists.)
    """
    check_choice("basis", name, tuple(FAMILIES))
    if name == "spline" and spline_order == 0:
        raise ValueError(
            "spline_order must be at least 1 in a network, got 0: steps pass no gradient to the layers before them"
        )
    options = dict(basis_options or {})
    if name == "spline":
        options = {
            "grid_size": grid_size, "spline_order": spline_order, "grid_range": tuple(grid_range), **options
        }  # fmt: skip
    try:
        return FAMILIES[name].basis(**options)
    except TypeError as error:
        raise TypeError(f"basis_options {options} do not fit basis {name!r}: {error}") from error
