"""Checks of what users hand to a model, and the shapes that it is brought to."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .coords import make_cell


def require_image(lr: Tensor, model: nn.Module) -> None:
    """Raise unless `lr` is a batch of images in the precision of the model."""
    if lr.ndim != 4 or 0 in lr.shape:
        raise ValueError(f"lr must be images of shape (b, channels, h, w), got {tuple(lr.shape)}")
    if not lr.is_floating_point():
        raise TypeError(f"lr must be floating point in [0, 1], got {lr.dtype}; divide 8-bit images by 255")
    weight = next(model.parameters(), None)
    if weight is not None and weight.dtype != lr.dtype:
        raise TypeError(f"lr is {lr.dtype} and the model's weights are {weight.dtype}; convert one of them")


def require_unit_range(lr: Tensor) -> None:
    """Raise ValueError if an image has values outside [0, 1], or NaN."""
    low, high = (value.item() for value in lr.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"lr must lie in [0, 1], got values from {low:.4g} to {high:.4g}; divide 8-bit images by 255"
        )


def target(
    lr: Tensor, scale: float | None, size: tuple[int, int] | None
) -> tuple[tuple[int, int], Float[Tensor, " 2"]]:
    """The new size and the cell: of the nominal scale, whatever the size was rounded to, or of the size."""
    if (scale is None) == (size is None):
        raise ValueError(f"give either scale or size, got scale={scale} and size={size}")
    old = (lr.shape[-2], lr.shape[-1])
    if scale is not None:
        if not (math.isfinite(scale) and scale >= 1):
            raise ValueError(
                f"scale must be a finite number of at least 1, got {scale}; this model does not shrink images"
            )
        new = (round(old[0] * scale), round(old[1] * scale))
        nominal = [2 / (old[0] * scale), 2 / (old[1] * scale)]
        return new, torch.tensor(nominal, dtype=torch.float64, device=lr.device)
    assert size is not None
    new = (int(size[0]), int(size[1]))
    if new[0] < old[0] or new[1] < old[1]:
        raise ValueError(
            f"size must be at least the image's {old[0]}×{old[1]}, got {new[0]}×{new[1]}; "
            "this model does not shrink images"
        )
    return new, make_cell(new, dtype=torch.float64, device=lr.device)


def per_image(chunk: int | None, batch: int, queries: int) -> int:
    """How many queries of each image are worked on at a time."""
    if chunk is None:
        return max(1, queries)
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk must be an int of at least 1, or None, got {chunk!r}")
    return max(1, chunk // batch)


def batched(coord: Tensor, name: str, batch: int) -> Float[Tensor, "#b q 2"]:
    """Coordinates per image, or one list for all."""
    coord = coord.unsqueeze(0) if coord.ndim == 2 else coord
    if coord.ndim != 3 or coord.shape[-1] != 2 or len(coord) not in (1, batch):
        raise ValueError(
            f"{name} must have shape ({batch}, queries, 2) or (queries, 2), got {tuple(coord.shape)}"
        )
    return coord


def batched_cell(cell: Tensor, batch: int) -> Float[Tensor, "b #q 2"]:
    """Cells per image."""
    given = tuple(cell.shape)
    if cell.ndim == 1:
        cell = cell.view(1, 1, -1)
    elif cell.ndim == 2:
        cell = cell.unsqueeze(1)
    if cell.ndim != 3 or cell.shape[-1] != 2 or len(cell) not in (1, batch):
        raise ValueError(f"cell must have shape ({batch}, queries, 2), ({batch}, 2) or (2,), got {given}")
    return cell.expand(batch, -1, -1)
