"""Coordinates of continuous images: where the queries lie, which low-resolution pixels answer, what an orientation sees.

Coordinates are (row, col) in [−1, 1], pixel centres at −1 + (2i + 1)/n (§3.1). Relative coordinates are measured from
the centre of a low-resolution pixel in units of half its pitch: one pitch is 2 (§3.3). A quarter turn of the image,
`torch.rot90(x, 1, (-2, -1))`, moves the point (row, col) to (−col, row), and orientation k of a regular field reads the
relative coordinate A_k⁻¹x,

    row_k = cos θ_k · row + sin θ_k · col        col_k = cos θ_k · col − sin θ_k · row        θ_k = 2πk/t

The neighbours of a query are found by rounding down, never by a search for the nearest with a shift, so that no query
lies on a tie and the result turns with the image at every scale (§10.4).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tenfold.groups import CyclicGroup

CellMode = Literal["scalar", "swap"]


def make_coord(
    size: tuple[int, int], *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "pixels 2"]:
    """The pixel centres of an image, row by row.

    Args:
        size: height and width.
        dtype: floating point; float32 or more.
        device: where.

    Raises:
        ValueError: if a size is less than 1.

    Example:
        >>> make_coord((1, 2))
        tensor([[ 0.0000, -0.5000],
                [ 0.0000,  0.5000]])
    """
    return coord_of_pixels(torch.arange(size[0] * size[1], device=device), size, dtype=dtype)


def coord_of_pixels(
    index: Int[Tensor, " n"], size: tuple[int, int], *, dtype: torch.dtype | None = None
) -> Float[Tensor, "n 2"]:
    """The centres of some pixels, numbered row by row: a part of `make_coord` without the whole."""
    if min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), got {size}")
    row = index.div(size[1], rounding_mode="floor")
    steps = torch.stack([row, index - row * size[1]], -1)
    lengths = torch.tensor(size, device=index.device)
    exact = (2 * steps + 1 - lengths).to(torch.float64) / lengths
    return exact.to(dtype or torch.get_default_dtype())


def make_cell(
    size: tuple[int, int], *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, " 2"]:
    """Height and width of an output pixel, (2/H, 2/W), in the units of coordinates.

    >>> make_cell((4, 8))
    tensor([0.5000, 0.2500])
    """
    if min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), got {size}")
    return 2 / torch.tensor(size, dtype=dtype or torch.get_default_dtype(), device=device)


@dataclass(frozen=True)
class Neighbours:
    """The low-resolution pixels that answer a query, and how much each of them counts.

    Args:
        index: numbers of the pixels, row by row.
        offset: the query seen from their centres, two units a pitch.
        weight: non-negative; the weights of a query sum to one.
    """

    index: Int[Tensor, "*n k"]
    offset: Float[Tensor, "*n k 2"]
    weight: Float[Tensor, "*n k"]

    def part(self, of: slice, queries: slice) -> "Neighbours":
        """Those of some images, and of some queries of each; the axes are (image, query, neighbour)."""
        return Neighbours(self.index[of, queries], self.offset[of, queries], self.weight[of, queries])

    def to(self, dtype: torch.dtype) -> "Neighbours":
        """Offsets and weights in another precision."""
        return Neighbours(self.index, self.offset.to(dtype), self.weight.to(dtype))


def bilinear_neighbours(coord: Float[Tensor, "*n 2"], size: tuple[int, int]) -> Neighbours:
    """The four pixels around each query with their bilinear weights: the local ensemble of LIIF, free of ties (§10.4).

    With u = (coord + 1)·n/2 − 1/2 and i = ⌊u⌋, the neighbours are i and i + 1 with the weights 1 − |u − i|; outside the
    grid the pixel at the border answers for the missing one.

    Args:
        coord: queries, at least float32; what lies outside [−1, 1] is moved to the border.
        size: height and width of the low-resolution grid.

    Example:
        >>> near = bilinear_neighbours(torch.tensor([0.0, 0.0]), (2, 2))
        >>> near.index.tolist(), near.weight.tolist(), near.offset[0].tolist()
        ([0, 1, 2, 3], [0.25, 0.25, 0.25, 0.25], [1.0, 1.0])
    """
    position, below = _positions(coord, size)
    fraction = position - below
    pairs = torch.stack([1 - fraction, fraction], -1)  # n 2(axis) 2(side)
    return _corners(position, below, pairs, size)


def nearest_neighbours(coord: Float[Tensor, "*n 2"], size: tuple[int, int]) -> Neighbours:
    """The nearest pixel of each query; where several are equally near they share the weight (§10.4).

    Four neighbours are listed as for `bilinear_neighbours` if any query lies on a tie, otherwise one.

    Args:
        coord: queries, at least float32.
        size: height and width of the low-resolution grid.

    Example:
        >>> nearest_neighbours(torch.tensor([[-0.4, 0.3]]), (2, 2)).index.tolist()
        [[1]]
        >>> nearest_neighbours(torch.tensor([[-0.4, 0.0]]), (2, 2)).weight.tolist()
        [[0.5, 0.5, 0.0, 0.0]]
    """
    position, below = _positions(coord, size)
    from_middle = position - below - 0.5
    # Rounding of the coordinates moves positions by a few units in the last place of n.
    tolerance = 8 * torch.finfo(coord.dtype).eps * max(size)
    upper = (from_middle > tolerance).to(coord.dtype)
    tied = from_middle.abs() <= tolerance
    if not bool(tied.any()):
        chosen = (below + upper).clamp(min=0).minimum(_last(coord, size))
        index = (chosen[..., 0] * size[1] + chosen[..., 1]).long().unsqueeze(-1)
        offset = (2 * (position - chosen)).unsqueeze(-2)
        return Neighbours(index, offset, torch.ones_like(offset[..., 0]))
    upper = torch.where(tied, 0.5, upper)
    return _corners(position, below, torch.stack([1 - upper, upper], -1), size)


def rotate_coords(rel: Float[Tensor, "*n 2"], group: CyclicGroup) -> Float[Tensor, "*n t 2"]:
    """The relative coordinate that each orientation reads: A_k⁻¹x (top of this module).

    Example:
        >>> rotate_coords(torch.tensor([1.0, 0.0]), CyclicGroup(4)).tolist()
        [[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]]
    """
    return torch.einsum("kij,...j->...ki", rotation_matrices(group, rel), rel) + 0.0  # no negative zeros


def rotation_matrices(group: CyclicGroup, like: Tensor) -> Float[Tensor, "t 2 2"]:
    """A_k⁻¹ on (row, col), in the dtype and on the device of `like`; quarter turns are exact in every dtype."""
    turns = [group.cos_sin(k) for k in group.elements]
    rows = [[[cos, sin], [-sin, cos]] for cos, sin in turns]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def cell_matrices(group: CyclicGroup, mode: CellMode, like: Tensor) -> Float[Tensor, "t 2 2"]:
    """What orientation k sees of a cell (height, width), as a matrix (§10.6).

    "scalar": the cell itself, as published; equivariant for equal scales only. "swap": its extents along the axes of the
    orientation, (cos²θ_k·c_r + sin²θ_k·c_c, sin²θ_k·c_r + cos²θ_k·c_c); height and width change places at quarter turns.
    Both are the same for equal scales.

    Raises:
        ValueError: if the mode is unknown.
    """
    require_cell_mode(mode)
    squares = rotation_matrices(group, like).square()
    return squares if mode == "swap" else torch.eye(2).to(squares).expand_as(squares)


def require_cell_mode(mode: str) -> None:
    """Raise ValueError for a cell mode that does not exist."""
    if mode not in get_args(CellMode):
        raise ValueError(f"cell_mode must be 'scalar' or 'swap', got {mode!r}")


def _positions(coord: Tensor, size: tuple[int, int]) -> tuple[Float[Tensor, "*n 2"], Float[Tensor, "*n 2"]]:
    """Positions in pixels, the first centre at 0, and the whole numbers below them."""
    if coord.shape[-1] != 2:
        raise ValueError(f"coord must end in (row, col), got shape {tuple(coord.shape)}")
    if coord.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"coord must be float32 or float64, got {coord.dtype}: halves cannot tell pixels apart"
        )
    if min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), got {size}")
    lengths = _last(coord, size) + 1
    position = coord.clamp(-1, 1) * (lengths / 2) + (lengths - 1) / 2
    return position, position.floor()


def _corners(
    position: Tensor, below: Tensor, pairs: Float[Tensor, "*n 2 2"], size: tuple[int, int]
) -> Neighbours:
    last = _last(position, size)
    sides = torch.stack([below, below + 1], -1)  # n 2(axis) 2(side)
    sides = sides.clamp(min=0).minimum(last.unsqueeze(-1))
    offsets = 2 * (position.unsqueeze(-1) - sides)
    rows, columns = sides[..., 0, :, None], sides[..., 1, None, :]
    index = (rows * size[1] + columns).flatten(-2).long()
    offset = torch.stack(
        torch.broadcast_tensors(offsets[..., 0, :, None], offsets[..., 1, None, :]), -1
    ).flatten(-3, -2)
    weight = (pairs[..., 0, :, None] * pairs[..., 1, None, :]).flatten(-2)
    return Neighbours(index, offset, weight)


def _last(like: Tensor, size: tuple[int, int]) -> Float[Tensor, " 2"]:
    """Number of the last pixel of each axis. Exact in float32 up to 2²⁴ pixels."""
    return torch.tensor(size, dtype=like.dtype, device=like.device) - 1
