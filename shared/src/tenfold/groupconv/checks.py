"""Checks of arguments and inputs, shared by the layers."""

from torch import Tensor

from tenfold.groups import Group


def require_positive(**values: int) -> None:
    """Raise ValueError (TypeError for other types) naming the first argument that is not a positive integer."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def require_group(group: object) -> None:
    """Raise TypeError if something else stands where the group belongs."""
    if not isinstance(group, Group):
        raise TypeError(f"group must be a CyclicGroup or DihedralGroup, got {group!r}")


def require_channels(x: Tensor, dim: int, fields: int, group: Group | None, layer: str) -> None:
    """Raise ValueError if axis `dim` of `x` does not hold `fields` fields (scalars if there is no group)."""
    order = 1 if group is None else group.order
    if x.shape[dim] != fields * order:
        composition = "" if group is None else f" ({fields} fields × {order} elements of {group})"
        raise ValueError(f"x has {x.shape[dim]} channels, {layer} takes {fields * order}{composition}")


def require_maps(x: Tensor) -> None:
    """Raise unless x is a floating-point tensor (b, channels, h, w)."""
    if x.ndim != 4:
        raise ValueError(f"x must have shape (b, channels, h, w), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point, got {x.dtype}; divide 8-bit images by 255")


def require_symmetric_sampling(x: Tensor, extent: int, stride: int, padding: int) -> None:
    """Raise ValueError if the sampling lattice of a strided layer is not symmetric about the centre of the map."""
    for name, size in (("height", x.shape[-2]), ("width", x.shape[-1])):
        left_over = (size + 2 * padding - extent) % stride
        if left_over:
            raise ValueError(
                f"{name} {size} with padding {padding}, kernel extent {extent} and stride {stride} leaves {left_over} "
                "pixels on one side unused, which breaks the symmetry; choose sizes with (size + 2·padding − extent) "
                "divisible by the stride, or accept an approximate layer with exact=False"
            )
