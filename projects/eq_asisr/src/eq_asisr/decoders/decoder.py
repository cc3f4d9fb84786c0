"""What all decoders have in common: a continuous image made of one local function per low-resolution pixel (§3.3, §3.4).

    f(q) = Σ_j w_j(q) · f_{F_j}(x_j)         j over the neighbours of q, x_j = q seen from the centre of pixel j

A decoder says which part of its local function is linear in the features, or does not depend on the query at all. That
part, `prepare`, is computed once per LR pixel; `local_function` does the rest for every query and neighbour. A query then
costs one look-up of a finished row per neighbour instead of a look-up of the features and the whole network.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eq_asisr.coords import Neighbours, bilinear_neighbours, nearest_neighbours
from tenfold.groupconv.checks import require_maps, require_positive
from tenfold.groups import CyclicGroup

# Numbers in the rows of a block: on the CPU these stay in the second-level cache from the look-up to the colour.
_BLOCK = 2**18

LocalFunction = Callable[
    [Float[Tensor, "b q k width"], Float[Tensor, "b q k 2"]], Float[Tensor, "b q k out_channels"]
]

# `torch.amp.is_autocast_available` would say it too, but torch 2.11 cannot compile a call of it.
_AUTOCAST_DEVICES = frozenset({"cpu", "cuda", "hpu", "mps", "xpu"})


class Decoder(nn.Module):
    """Base of the decoders.

    Args:
        config: the constructor's arguments, plain numbers and strings; None for decoders that cannot be saved.
        in_channels: channels of the features; None if any number will do.
        out_channels: channels of the image.
        group: the group whose regular fields the features are, C_t; None for ordinary decoders.
        upinput: add the bilinearly upsampled LR image, which is done by `ASISR`.

    Raises:
        ValueError: if in_channels is no multiple of t.
    """

    def __init__(
        self,
        config: dict[str, Any] | None,
        *,
        in_channels: int | None,
        out_channels: int,
        group: CyclicGroup | None,
        upinput: bool,
    ):
        super().__init__()
        require_positive(out_channels=out_channels)
        if in_channels is not None:
            require_multiple(group, in_channels=in_channels)
        self.config, self.in_channels, self.out_channels = config, in_channels, out_channels
        self.group, self.upinput = group, upinput

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    def prepare(self, features: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b pixels width"]:
        """One row per LR pixel: what queries need of it."""
        raise NotImplementedError

    def local_function(self, cell: Float[Tensor, "#b #q 2"]) -> LocalFunction:
        """The colours seen from some pixels, `(rows, offset) -> values`; what does not depend on them is formed here, once.

        Args:
            cell: height and width of the output pixels, in units of half an LR pitch.

        Returns:
            A function of the rows of the neighbours, which it may overwrite, and of the offsets of the queries from the
            neighbours' centres, in the same units.
        """
        raise NotImplementedError

    def forward(
        self,
        features: Float[Tensor, "b in_channels h w"],
        coord: Float[Tensor, "b q 2"],
        cell: Float[Tensor, "#b #q 2"],
        local_ensemble: bool = True,
    ) -> Float[Tensor, "b q out_channels"]:
        """Colours at `coord` for output pixels of size `cell`, both in the units where the image is [−1, 1]²."""
        size = (features.shape[-2], features.shape[-1])
        rows = self.prepare(features)
        return self.at(rows, cell * cell.new_tensor(size), neighbours(coord, size, local_ensemble))

    def at(
        self, rows: Float[Tensor, "b pixels width"], cell: Float[Tensor, "#b #q 2"], near: Neighbours
    ) -> Float[Tensor, "b q out_channels"]:
        """The weighted sum over the neighbours, `cell` in units of half an LR pitch."""
        if torch.is_grad_enabled() or rows.device.type != "cpu" or cell.shape[1] > 1:
            return self._sum(rows, near, self.local_function(cell))
        queries = near.index.shape[1]
        block = max(1, _BLOCK // (near.index.shape[-1] * rows.shape[-1]))
        out = near.weight.new_empty(len(rows), queries, self.out_channels)
        for i in range(len(rows)):
            function = self.local_function(cell[i % len(cell)].unsqueeze(0))
            image = slice(
                i % len(near.index), i % len(near.index) + 1
            )  # one list of neighbours may serve all
            for start in range(0, queries, block):
                here = slice(start, start + block)
                out[i, here] = self._sum(rows[i : i + 1], near.part(image, here), function)[0]
        return out

    def _sum(self, rows: Tensor, near: Neighbours, function: LocalFunction) -> Tensor:
        gathered = gather(rows, near.index)
        values = function(gathered, near.offset.expand(*gathered.shape[:3], 2))
        return (values * near.weight.unsqueeze(-1)).sum(-2)

    def require_features(self, features: Tensor) -> None:
        """Raise ValueError unless the features have the channels of this decoder."""
        require_maps(features)
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f"features have {features.shape[1]} channels, this {type(self).__name__} takes {self.in_channels}"
            )


def neighbours(coord: Tensor, size: tuple[int, int], local_ensemble: bool) -> Neighbours:
    """The pixels that answer: four, or the nearest."""
    return bilinear_neighbours(coord, size) if local_ensemble else nearest_neighbours(coord, size)


def gather(
    rows: Float[Tensor, "b pixels width"], index: Int[Tensor, "#b q k"]
) -> Float[Tensor, "b q k width"]:
    """The rows of the pixels with these numbers, image by image."""
    first = torch.arange(len(rows), device=rows.device).view(-1, 1, 1) * rows.shape[1]
    index = index + first
    return rows.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, index.shape)


def to_rows(maps: Float[Tensor, "b c h w"], order: int = 1) -> Float[Tensor, "b pixels order_c"]:
    """Maps as rows of channels; those of regular fields orientation by orientation, so that sums over the group are fast."""
    rows = maps.flatten(2)
    if order > 1:
        rows = rows.unflatten(1, (-1, order)).transpose(1, 2).flatten(1, 2)
    return rows.transpose(1, 2).contiguous()


def sum_orientations(x: Float[Tensor, "*n order fields"]) -> Float[Tensor, "*n fields"]:
    """Σ over the last axis but one. In blocks without gradients it is a chain, which takes half the time of `sum`."""
    if torch.is_grad_enabled():
        return x.sum(-2)
    first, *others = x.unbind(-2)
    if not others:
        return first
    total = first + others[0]
    for other in others[1:]:
        total = total.add_(other)
    return total


def add_linear_(
    rows: Float[Tensor, "*n width"], inputs: Float[Tensor, "*n i"], weight: Float[Tensor, "width i"]
) -> Float[Tensor, "*n width"]:
    """rows + weight · inputs, at least in float32, also under autocast: coordinates do not survive halves (§10.5).

    Without gradients it overwrites `rows`, as `relu_` does. With them it does not: these are views, and autograd
    copies the whole of a view that is written to.
    """
    with full_precision(rows.device):
        dtype = torch.promote_types(weight.dtype, torch.float32)
        flat, inputs = rows.flatten(0, -2).to(dtype), inputs.flatten(0, -2).to(dtype)
        add = torch.addmm if torch.is_grad_enabled() else Tensor.addmm_
        return add(flat, inputs, weight.T.to(dtype)).view(rows.shape).to(weight.dtype)


def relu_(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """ReLU, in place without gradients."""
    return F.relu(x, inplace=not torch.is_grad_enabled())


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A block without autocast."""
    if device.type in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def require_multiple(group: CyclicGroup | None, **sizes: int) -> None:
    """Raise ValueError naming the first size that is not a positive multiple of the group's order."""
    require_positive(**sizes)
    for name, value in sizes.items():
        if group is not None and value % group.order:
            raise ValueError(f"{name} must be a multiple of t={group.order}, got {value}")
