"""B-splines on uniform knots, through their local support (notes section 3.1).

On cell c of the extended grid, t_c <= x < t_{c+1}, only the bases B_{c-k} ... B_c are alive, and each is a polynomial
of degree k in the cell coordinate t = (x - t_c) / h. So all values at x are one product

    [B_0(x) ... B_{G+k-1}(x)] = [1, t, ..., t^k] @ table[c]

with a small constant table. In eager mode the equivalent closed form of `closed_form.py` is faster and keeps nothing
but x for the backward pass.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..arguments import check_positive, check_range
from .basis import Basis
from .closed_form import closed_form_features, closed_form_works


class BSplineBasis(Basis):
    """The G + k B-splines of order k on uniform knots t_m = a + (m - k) (b - a) / G, m = 0 ... G + 2k.

    They sum to one on [a, b], fall to zero within k cells beside it, and vanish outside, also at infinity.
    NaN in gives NaN out.

    Args:
        grid_size: number of cells G.
        spline_order: polynomial degree k; 0 gives half-open indicator functions.
        grid_range: (a, b).

    Example:
        >>> values = BSplineBasis(5, 3, (-1.0, 1.0))(torch.linspace(-1, 0.9, 7)[:, None])
        >>> values.shape, torch.allclose(values.sum(-1), torch.ones(7, 1))
        (torch.Size([7, 1, 8]), True)
    """

    def __init__(
        self, grid_size: int = 5, spline_order: int = 3, grid_range: tuple[float, float] = (-1.0, 1.0)
    ):
        super().__init__()
        check_positive(grid_size=grid_size)
        if isinstance(spline_order, bool) or not isinstance(spline_order, int):
            raise TypeError(f"spline_order must be an integer, got {spline_order!r}")
        if spline_order < 0:
            raise ValueError(f"spline_order must be at least 0, got {spline_order}")
        self.grid_size, self.spline_order = grid_size, spline_order
        self.grid_range = check_range("grid_range", grid_range)
        self.n_basis = grid_size + spline_order
        self.cell_width = (self.grid_range[1] - self.grid_range[0]) / grid_size
        self._table = cell_table(grid_size, spline_order)  # no buffer: `.half()` must not round it

    @property
    def knots(self) -> Float[Tensor, " g"]:
        """The G + 2k + 1 knots, float64."""
        m = torch.arange(self.grid_size + 2 * self.spline_order + 1, dtype=torch.float64)
        return self.grid_range[0] + (m - self.spline_order) * self.cell_width

    @property
    def support(self) -> tuple[float, float]:
        """The interval outside which every basis function is zero."""
        reach = self.spline_order * self.cell_width
        return self.grid_range[0] - reach, self.grid_range[1] + reach

    def forward(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """Values of the G + k splines at every entry of x."""
        return self.features(x, silu=False).to(x.dtype)

    def features(self, x: Float[Tensor, "... n"], silu: bool) -> Float[Tensor, "... n q"]:
        """The splines and, with `silu`, SiLU(x) behind them, computed at least in float32."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.spline_order and closed_form_works(wide):
            flat = wide.reshape(-1, x.shape[-1])
            values = closed_form_features(flat, self.grid_size, self.spline_order, self.grid_range, silu)
            return values.transpose(1, 2).reshape(*x.shape, values.shape[1])
        values = self.piecewise(wide)
        return torch.cat([values, F.silu(wide)[..., None]], dim=-1) if silu else values

    def piecewise(self, x: Float[Tensor, "... n"]) -> Float[Tensor, "... n m"]:
        """The same values from the polynomials on the cell of every entry: [1, t, ..., t^k] @ table[cell].

        Made of ordinary differentiable operations only, for `torch.compile` and `torch.func`.
        """
        cell, t = self.locate(x)
        powers = torch.stack([1.0 + 0.0 * t] + [t**p for p in range(1, self.spline_order + 1)], dim=-1)
        return torch.einsum("...p,...pm->...m", powers, self._table.to(x)[cell])

    def locate(self, x: Float[Tensor, "... n"]) -> tuple[Tensor, Float[Tensor, "... n"]]:
        """Index into the table's cells and coordinate in [0, 1) within the cell.

        Cells 0 and G + 2k + 1 stand for everything left and right of the support; their polynomials are zero.
        """
        n_cells = self.grid_size + 2 * self.spline_order
        s = ((x - self.grid_range[0]) / self.cell_width + (self.spline_order + 1)).clamp(0, n_cells + 1)
        if self.spline_order == 0:  # indicator functions jump at the knots: compare with the knots themselves
            cell = torch.bucketize(x, self.knots.to(x), right=True).clamp(0, n_cells + 1)
        else:
            cell = s.detach().floor().long().clamp(0, n_cells + 1)  # NaN converts to anything: clamp again
        return cell, s - cell

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.grid_size}, {self.spline_order}, grid_range={self.grid_range}"


def cell_table(grid_size: int, spline_order: int) -> Float[Tensor, "cells powers m"]:
    """table[c, p, m]: coefficient of t^p of basis m on cell c; the first and last cell are outside and zero."""
    k = spline_order
    pieces = [np.ones((1, 1))]  # pieces[k][r, p]: the uniform B-spline of order k on its r-th cell
    for order in range(1, k + 1):
        lower = np.zeros((order + 2, order + 1))  # a row of zeros on either side, a column of room
        lower[1 : order + 1, :order] = pieces[-1]
        r = np.arange(order + 1)[:, None]
        rising, falling = lower[1:], lower[:-1]
        shifted = np.roll(rising - falling, 1, axis=1)
        pieces.append((r * rising + (order + 1 - r) * falling + shifted) / order)
    table = np.zeros((grid_size + 2 * k + 2, k + 1, grid_size + k))
    for cell in range(grid_size + 2 * k):
        for piece in range(k + 1):
            if 0 <= cell - piece < grid_size + k:
                table[cell + 1, :, cell - piece] = pieces[-1][piece]
    return torch.from_numpy(table)
