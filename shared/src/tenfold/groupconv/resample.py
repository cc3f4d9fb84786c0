"""Up-sampling by sub-pixels, and canonical frames (eq_vit §3.1, §3.8)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from tenfold.groupconv.checks import require_group, require_maps, require_positive
from tenfold.groups import Group


class GroupPixelShuffle(nn.Module):
    """Depth-to-space for regular fields: each orientation places its r×r block in its own frame.

        y[c,t](r·a + u) = act(t, z[c,·,t](a))(u)

    An ordinary `nn.PixelShuffle` of every orientation is not equivariant.

    Args:
        upscale: r, the factor of both sides.
        group: a group that maps pixels to pixels (C1, C2, C4, D1, D2, D4).

    The input has C·r² fields (field c·r² + i·r + j holds row i, column j of the block), the output C fields.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> GroupPixelShuffle(2, CyclicGroup(4))(torch.randn(1, 12 * 4, 5, 5)).shape
        torch.Size([1, 12, 10, 10])
    """

    def __init__(self, upscale: int, group: Group):
        super().__init__()
        require_positive(upscale=upscale)
        _require_lattice_group(group, "GroupPixelShuffle")
        self.upscale, self.group = upscale, group
        block = torch.arange(upscale**2).view(upscale, upscale)
        sources = torch.stack(
            [group.act(t, block).flatten() for t in group.elements]
        )  # t u -> sub-pixel that lands on u
        self.register_buffer("sources", sources, persistent=False)

    sources: Tensor

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b fewer rh rw"]:
        require_maps(x)
        order, area = self.group.order, self.upscale**2
        if x.shape[1] % (order * area):
            raise ValueError(
                f"x has {x.shape[1]} channels, GroupPixelShuffle takes a multiple of {order * area} "
                f"({self.upscale}² sub-pixels × {order} elements of {self.group})"
            )
        elements = torch.arange(order, device=x.device)[:, None]
        channels = (self.sources * order + elements).flatten()  # (t u) -> channel u'·|G| + t within a field
        blocks = x.unflatten(1, (-1, area * order)).index_select(2, channels)  # b c (t u) h w
        return F.pixel_shuffle(blocks.flatten(1, 2), self.upscale)

    def extra_repr(self) -> str:
        return f"{self.upscale}, {self.group}"


def to_canonical_frames(
    x: Shaped[Tensor, "b channels n n"], group: Group
) -> Shaped[Tensor, "b channels n n"]:
    """Put every orientation into its own frame: F̃[c,t] = act(t⁻¹, F[c,t]).

    The group then acts by permuting channels alone, F̃[c,t] → F̃[c,g⁻¹t] (`Group.act_regular(g, x, dim=1)`): any spatial
    operator shared by all channels, however unsymmetric, is exactly equivariant between `to_` and
    `from_canonical_frames`.

    Raises:
        ValueError: if the group does not map pixels to pixels, or it turns by 90° and the maps are not square.

    Example:
        >>> from tenfold.groups import DihedralGroup
        >>> group, x = DihedralGroup(4), torch.randn(1, 8, 6, 6)
        >>> frames = to_canonical_frames(group.act_field(3, x), group)
        >>> torch.equal(frames, group.act_regular(3, to_canonical_frames(x, group), dim=1))
        True
    """
    return _act_on_each(x, group, [group.inverse(t) for t in group.elements])


def from_canonical_frames(
    x: Shaped[Tensor, "b channels n n"], group: Group
) -> Shaped[Tensor, "b channels n n"]:
    """Undo `to_canonical_frames`: F[c,t] = act(t, F̃[c,t]).

    >>> from tenfold.groups import CyclicGroup
    >>> group, x = CyclicGroup(4), torch.randn(1, 8, 6, 6)
    >>> torch.equal(from_canonical_frames(to_canonical_frames(x, group), group), x)
    True
    """
    return _act_on_each(x, group, list(group.elements))


def _act_on_each(x: Tensor, group: Group, elements: list[int]) -> Tensor:
    """Transform the pixels of orientation t by elements[t]."""
    _require_lattice_group(group, "canonical frames")
    height, width = x.shape[-2:]
    if height != width and group.n_rotations == 4:
        raise ValueError(f"maps must be square for the quarter turns of {group}, got {height}×{width}")
    fields = group.split(x, 1)
    return torch.stack([group.act(g, fields[:, :, t]) for t, g in enumerate(elements)], 2).flatten(1, 2)


def _require_lattice_group(group: Group, what: str) -> None:
    require_group(group)
    if not group.is_lattice_group:
        raise ValueError(
            f"{what} needs a group that maps pixels to pixels (C1, C2, C4, D1, D2, D4), got {group}"
        )
