"""A module that holds the filter functions of a layer: fixed by the group, the kernel size and the kind of basis."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.basis import bicubic_basis, fourier_functions, fourier_whitening, lattice_basis
from tenfold.groupconv.filters import bank_from_basis
from tenfold.groups import Group

Basis = Literal["bicubic", "fourier", "lattice"]


class FilterBank(nn.Module):
    """The filter functions φ_k(t⁻¹δ) of a layer, in the layout (K, |G|, p, p).

    The functions follow from the arguments and are not in the checkpoint, with one exception: the Fourier basis is
    only defined up to rotations inside equal eigenvalues, so its `whitening` matrix travels with the weights.
    They are evaluated in float64 and rounded to the dtype of the module, also after `.to(dtype)`.

    Args:
        group: the symmetry group.
        kernel_size: p; odd and at least 3 for "bicubic" and "fourier", any for "lattice"; 1 is a single constant.
        basis: "bicubic", "fourier" or "lattice" (see `tenfold.groupconv.basis`).
        frequencies: q of the Fourier basis, 1 … p; None is p.
        smooth: F-Conv's weighting of the Fourier basis.

    Raises:
        ValueError: if the basis is unknown, or an argument does not fit it.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> FilterBank(CyclicGroup(8), 5)().shape
        torch.Size([25, 8, 5, 5])
    """

    functions: Tensor
    whitening: Tensor | None

    def __init__(
        self,
        group: Group,
        kernel_size: int,
        basis: Basis = "bicubic",
        frequencies: int | None = None,
        smooth: bool = False,
    ):
        super().__init__()
        if basis not in get_args(Basis):
            raise ValueError(f"basis must be one of {', '.join(get_args(Basis))}, got {basis!r}")
        if basis != "fourier" and (frequencies is not None or smooth):
            raise ValueError(f"frequencies and smooth belong to basis='fourier', got basis={basis!r}")
        self.group, self.kernel_size, self.basis = group, kernel_size, basis
        self.frequencies = kernel_size if frequencies is None else frequencies
        whitening = None
        if basis == "fourier" and kernel_size != 1:
            exact = fourier_whitening(group, kernel_size, frequencies, smooth)
            whitening = exact.to(torch.get_default_dtype())
        self.register_buffer("whitening", whitening)
        exact = self._exact_functions()
        self.register_buffer("functions", exact.to(torch.get_default_dtype()), persistent=False)

    @property
    def size(self) -> int:
        """K, the number of coefficients of a filter."""
        return self.functions.shape[0] if self.whitening is None else self.whitening.shape[1]

    def forward(self) -> Float[Tensor, "K order p p"]:
        if self.whitening is None:
            return self.functions
        return (self.whitening.T @ self.functions.flatten(1)).unflatten(1, self.functions.shape[1:])

    def _exact_functions(self) -> Float[Tensor, "functions order p p"]:
        if self.kernel_size == 1:
            return torch.ones(1, self.group.order, 1, 1, dtype=torch.float64)
        if self.basis == "bicubic":
            return bank_from_basis(bicubic_basis(self.group, self.kernel_size))
        if self.basis == "lattice":
            return bank_from_basis(lattice_basis(self.group, self.kernel_size))
        return bank_from_basis(fourier_functions(self.group, self.kernel_size, self.frequencies))

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "FilterBank":
        """After a change of dtype or device, evaluate anew instead of keeping the rounding of the old dtype."""
        super()._apply(fn, *args, **kwargs)
        self.functions = self._exact_functions().to(self.functions)
        return self

    def extra_repr(self) -> str:
        frequencies = f", frequencies={self.frequencies}" if self.basis == "fourier" else ""
        return f"{self.group}, {self.kernel_size}, basis={self.basis!r}{frequencies}"
