"""What a network is made of: the same four kinds of convolution in seven variants.

    cnn      plain convolutions; a "field" is one channel
    p4       p4-convolutions of G-CNN: free filters turned by rot90, N = 4
    fconv    F-Conv: rotated filters in the Fourier basis
    bconv    B-Conv: rotated filters in the bicubic basis
    tlconv   TL-Conv: rotated in a learned frame
    saconv   SA-Conv: rotated in a learned frame bent by the w of every image
    e2cnn    steerable filters of the library e2cnn, regular fields, circular harmonics

Networks ask for `lift` (image → fields), `group` (fields → fields), `pointwise` (the same, 1×1) and `project` (fields →
image channels), and call all but `pointwise` as `layer(x, *w)`, w being the geometry for variants that take one.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, cast, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from sa_conv.layers import SAConvOptions, SAGroupConv2d, SALiftingConv2d, SAProjectionConv2d
from tenfold.groupconv import GroupConv1x1
from tenfold.groups import CyclicGroup

Variant = Literal["cnn", "p4", "fconv", "bconv", "tlconv", "saconv", "e2cnn"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


class Convolutions(Protocol):
    """The four kinds of convolution of a network."""

    @property
    def order(self) -> int:
        """Channels per field."""

    def lift(self, in_channels: int, fields: int) -> nn.Module: ...

    def group(self, in_fields: int, out_fields: int) -> nn.Module: ...

    def pointwise(self, in_fields: int, out_fields: int) -> nn.Module: ...

    def project(self, in_fields: int, out_channels: int) -> nn.Module: ...


@dataclass(frozen=True)
class Plain:
    """nn.Conv2d everywhere."""

    kernel_size: int = 3
    order: int = 1

    def _conv(self, a: int, b: int) -> nn.Module:
        return nn.Conv2d(a, b, self.kernel_size, padding=self.kernel_size // 2)

    lift = group = project = _conv

    def pointwise(self, in_fields: int, out_fields: int) -> nn.Module:
        return nn.Conv2d(in_fields, out_fields, 1)


@dataclass(frozen=True)
class Equivariant:
    """The SA-Conv family."""

    kernel_size: int
    N: int
    options: SAConvOptions

    @property
    def order(self) -> int:
        return self.N

    def lift(self, in_channels: int, fields: int) -> nn.Module:
        return SALiftingConv2d(in_channels, fields, self.kernel_size, self.N, **self.options)

    def group(self, in_fields: int, out_fields: int) -> nn.Module:
        return SAGroupConv2d(in_fields, out_fields, self.kernel_size, self.N, **self.options)

    def pointwise(self, in_fields: int, out_fields: int) -> nn.Module:
        return GroupConv1x1(in_fields, out_fields, CyclicGroup(self.N))

    def project(self, in_fields: int, out_channels: int) -> nn.Module:
        return SAProjectionConv2d(in_fields, out_channels, self.kernel_size, self.N, **self.options)


@dataclass(frozen=True)
class Steerable:
    """e2cnn's R2Conv between regular fields of C_N; needs the extra `e2cnn`."""

    kernel_size: int
    N: int

    @property
    def order(self) -> int:
        return self.N

    def lift(self, in_channels: int, fields: int) -> nn.Module:
        return SteerableConv2d(in_channels, fields, self.kernel_size, self.N, "lift")

    def group(self, in_fields: int, out_fields: int) -> nn.Module:
        return SteerableConv2d(in_fields, out_fields, self.kernel_size, self.N, "group")

    def pointwise(self, in_fields: int, out_fields: int) -> nn.Module:
        return SteerableConv2d(in_fields, out_fields, 1, self.N, "group")

    def project(self, in_fields: int, out_channels: int) -> nn.Module:
        return SteerableConv2d(in_fields, out_channels, self.kernel_size, self.N, "project")


class SteerableConv2d(nn.Module):
    """An e2cnn R2Conv on plain tensors in our layout, which is e2cnn's `FieldType(gspace, C * [regular_repr])`.

    The filter is expanded at every call; e2cnn's own cache of eval mode goes stale when weights are loaded.

    Args:
        inputs: channels of an image for "lift", fields otherwise.
        outputs: channels of an image for "project", fields otherwise.
        kernel_size: p, odd.
        N: number of orientations.
        kind: "lift", "group" or "project".
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        N: int,
        kind: Literal["lift", "group", "project"] = "group",
    ):
        super().__init__()
        try:
            from e2cnn import gspaces  # type: ignore[import-untyped]
            from e2cnn import nn as enn
        except ImportError as error:
            raise ImportError("variant='e2cnn' needs the library: install sa_conv[e2cnn]") from error
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        space = gspaces.Rot2dOnR2(N) if N > 1 else gspaces.TrivialOnR2()
        image, field = space.trivial_repr, space.regular_repr
        in_type = enn.FieldType(space, inputs * [image if kind == "lift" else field])
        out_type = enn.FieldType(space, outputs * [image if kind == "project" else field])
        self.conv = enn.R2Conv(in_type, out_type, kernel_size, padding=kernel_size // 2, bias=True)
        self.conv.train()  # discards the expanded filter, which would be in the checkpoint
        self.padding = kernel_size // 2

    def train(self, mode: bool = True) -> "SteerableConv2d":
        super().train(mode)
        self.conv.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.expand_parameters()
        return F.conv2d(x, weight, bias, padding=self.padding)


def convolutions(
    variant: str, kernel_size: int, N: int, basis: str, options: SAConvOptions, shared_frame: bool = False
) -> Convolutions:
    """The convolutions of a variant.

    Args:
        variant: one of `VARIANTS`.
        basis: of tlconv and saconv; fconv, bconv and p4 have their own.
        options: mask, parametrization, …; used by tlconv and saconv.
        shared_frame: the network holds the one frame of all layers (`tie_geometry`), and the layers have none.

    Raises:
        ValueError: if the variant is unknown.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
    if variant == "cnn":
        return Plain(kernel_size)
    if variant == "e2cnn":
        return Steerable(kernel_size, N)
    if variant in ("p4", "fconv", "bconv"):
        own = {"p4": "lattice", "fconv": "fourier", "bconv": "bicubic"}[variant]
        return Equivariant(kernel_size, N, cast(SAConvOptions, {"basis": own}))
    bent: dict[str, object] = dict(options) | {"basis": basis}
    if shared_frame:
        bent |= {"geometry": "adaptive", "learn_base": False, "hyper_scale": 1.0}
    elif variant == "saconv":
        bent |= {"geometry": "adaptive"}
    else:
        # What follows belongs to w; a learned frame has no use for it.
        bent = {k: v for k, v in bent.items() if k in ("basis", "mask", "parametrization")}
        bent |= {"geometry": "learned"}
    return Equivariant(kernel_size, N, cast(SAConvOptions, bent))
