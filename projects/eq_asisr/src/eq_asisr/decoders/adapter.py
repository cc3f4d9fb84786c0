"""Any local function made equivariant: it looks at the pixel once per orientation, and the answers are averaged (§3.3).

    f(x) = 1/t Σ_k g(F^{A_k}, A_k⁻¹x)

Under a turn the features of orientation k become those of the next one, and so does its coordinate: the terms of the sum
change places.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eq_asisr.coords import CellMode, cell_matrices, require_cell_mode, rotation_matrices
from tenfold.groups import CyclicGroup

from .decoder import Decoder, LocalFunction, full_precision, to_rows


class EqINRAdapter(Decoder):
    """Makes an ordinary implicit representation g(feature, coordinate[, cell]) equivariant, whatever it is.

    Args:
        inr: a module, or a function without parameters, that maps features (…, n), relative coordinates (…, 2) and, with
            `cell_decode`, cells (…, 2) to colours (…, out_channels); n is the number of regular fields. Coordinates are
            two units an LR pitch, in (row, col).
        group: the group of the encoder, or its order.
        cell_decode: hand over the cell as a third argument.
        cell_mode: what the orientations see of it, see `EqLIIF`.
        upinput: add the bilinearly upsampled LR image.
        out_channels: channels of the image.

    Example:
        >>> class Network(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layers = nn.Sequential(nn.Linear(2 + 2, 8), nn.Tanh(), nn.Linear(8, 3))
        ...     def forward(self, feature, coord):
        ...         return self.layers(torch.cat([feature, coord], -1))
        >>> decoder, group = EqINRAdapter(Network(), 4), CyclicGroup(4)
        >>> features, cell = torch.randn(1, 8, 5, 5), torch.full((1, 1, 2), 0.1)
        >>> coord = torch.tensor([[[0.3, -0.6]]])
        >>> turned = torch.tensor([[[0.6, 0.3]]])  # (row, col) → (−col, row)
        >>> again = decoder(group.act_field(1, features), turned, cell)
        >>> torch.allclose(again, decoder(features, coord, cell), atol=1e-6)
        True
    """

    def __init__(
        self,
        inr: nn.Module | Callable[..., Tensor],
        group: CyclicGroup | int,
        cell_decode: bool = False,
        cell_mode: CellMode = "swap",
        upinput: bool = False,
        out_channels: int = 3,
    ):
        if not callable(inr):
            raise TypeError(f"inr must be callable as inr(feature, coord), got {inr!r}")
        group = CyclicGroup(group) if isinstance(group, int) else group
        super().__init__(None, in_channels=None, out_channels=out_channels, group=group, upinput=upinput)
        require_cell_mode(cell_mode)
        self.inr, self.order = inr, group.order
        self.cell_decode, self.cell_mode = cell_decode, cell_mode

    def prepare(self, features: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b pixels width"]:
        assert self.group is not None
        self.group.split(features, 1)  # says which number of channels would fit
        return to_rows(features, self.order)

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        assert self.group is not None
        turns = rotation_matrices(self.group, cell)
        cells = torch.einsum("sij,...j->...si", cell_matrices(self.group, self.cell_mode, cell), cell)
        parameter = next(self.parameters(), None)
        dtype = cell.dtype if parameter is None else parameter.dtype

        def colours(rows: Tensor, offset: Tensor) -> Tensor:
            fields = rows.unflatten(-1, (self.order, -1))
            with full_precision(rows.device):
                coord = torch.einsum("sij,...j->...si", turns, offset)
            seen = [cells.unsqueeze(2).expand_as(coord)] if self.cell_decode else []
            values = self.inr(*(x.to(dtype) for x in (fields, coord, *seen)))
            expected = (*coord.shape[:-1], self.out_channels)
            if values.shape != expected:
                raise ValueError(
                    f"inr returned shape {tuple(values.shape)} for features {tuple(fields.shape)}, "
                    f"expected {expected}"
                )
            return values.mean(-2)

        return colours
