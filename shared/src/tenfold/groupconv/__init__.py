"""Convolutions, linear maps, norms and pooling for features that turn with the image.

A *regular field* over a group G has one channel per element: channel = field · |G| + element. Turning the input turns
the maps and permutes the elements of every field, (L_g F)[c, t](x) = F[c, g⁻¹t](g⁻¹x); for C_N the orientations roll
by +1 with each step counter-clockwise. e2cnn's `FieldType(gspace, C * [regular_repr])` has the same layout
(`to_e2cnn_type`).

    >>> import torch
    >>> from torch import nn
    >>> from tenfold.groupconv import FieldBatchNorm2d, GroupConv2d, GroupPool, LiftingConv2d
    >>> from tenfold.groups import CyclicGroup
    >>> group = CyclicGroup(8)
    >>> network = nn.Sequential(
    ...     LiftingConv2d(1, 4, 5, group),       # image -> 4 fields = 32 channels
    ...     FieldBatchNorm2d(4, group),
    ...     nn.ReLU(),                           # pointwise and the same for all channels: equivariant
    ...     GroupConv2d(4, 4, 5, group),         # fields -> fields, 8 times fewer weights than Conv2d(32, 32, 5)
    ...     FieldBatchNorm2d(4, group),
    ...     nn.ReLU(),
    ...     GroupPool(group),                    # fields -> 4 maps that turn with the image
    ... ).eval()
    >>> image = torch.randn(1, 1, 16, 16)
    >>> torch.allclose(network(image.rot90(1, (2, 3))), network(image).rot90(1, (2, 3)), atol=1e-5)
    True

What is exact: multiples of 90° (and flips, for D_N) if 4 | N or N ∈ {1, 2}, at any size with stride 1, and at sizes
with (size + 2·padding − extent) divisible by the stride otherwise; layers refuse other sizes unless told `exact=False`.
Other angles of the group hold up to the sampling of the filters: for a given filter in the image the error falls with
the square of the pixel size h, that is, as kernels get more pixels. It is not small for coarse kernels: a 5×5 layer
with random weights is off by a third (bicubic) to a half (Fourier) at 45°. Measure it with
`tenfold.equivariance.equivariance_error`. Bases and formulas: `tenfold.groupconv.basis`, `tenfold.groupconv.filters`.

Filters are assembled once per call by one matrix product and one gather; in eval mode they are remembered as long as
what they were made from has the same values (`tenfold.groupconv.cache`).
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
