"""Convolutions that commute with a group of rotations and reflections (sa_conv §3.2).

Each layer expands its coefficients to one dense kernel and runs one ordinary convolution, so it costs what a plain
convolution of the same width costs, with |G| times fewer weights. Layout and action: `tenfold.groups`.
"""

import math
from typing import Literal, TypedDict, Unpack, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.groupconv.bank import Basis, FilterBank
from tenfold.groupconv.cache import DenseWeightModule
from tenfold.groupconv.checks import (
    require_channels,
    require_group,
    require_maps,
    require_positive,
    require_symmetric_sampling,
)
from tenfold.groupconv.filters import group_arrangement, group_filter, lifting_filter, projection_filter
from tenfold.groups import Group

Init = Literal["kaiming", "fconv2022"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class ConvOptions(TypedDict, total=False):
    """Keyword arguments that all convolutions take.

    Args:
        stride: sampling step of the output, default 1.
        padding: pixels added on each side. Default: dilation·(kernel_size − 1)/2, which keeps the size, for odd
            kernels; 0 for even kernels.
        dilation: distance between the pixels of the kernel, default 1.
        bias: one bias per output field (per output channel if these are scalars), default True.
        padding_mode: "zeros" (default), "reflect", "replicate" or "circular".
        basis: "bicubic" (default, B-Conv), "fourier" (F-Conv), or "lattice": free kernels of any size turned by rot90
            and flip, for C1, C2, C4, D1, D2 and D4.
        frequencies: q of the Fourier basis; default kernel_size.
        smooth: F-Conv's weighting of the Fourier basis, default False.
        init: "kaiming" (default) or "fconv2022"; see `GroupConv2d.reset_parameters`.
        exact: refuse maps whose sampling lattice is not symmetric about the centre when stride > 1, default True.
            False accepts them; the layer is then only approximately equivariant, also under quarter turns.
    """

    stride: int
    padding: int | None
    dilation: int
    bias: bool
    padding_mode: PaddingMode
    basis: Basis
    frequencies: int | None
    smooth: bool
    init: Init
    exact: bool


class _GroupConvolution(DenseWeightModule):
    """What the convolutions share. Subclasses say how coefficients become kernels."""

    def __init__(
        self,
        weight_shape: tuple[int, int, int],
        kernel_size: int,
        group: Group,
        *,
        fan_in_fields: int,
        n_biases: int,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        basis: Basis = "bicubic",
        frequencies: int | None = None,
        smooth: bool = False,
        init: Init = "kaiming",
        exact: bool = True,
    ):
        super().__init__()
        require_group(group)
        require_positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        if padding is None:
            padding = dilation * (kernel_size - 1) // 2 if kernel_size % 2 else 0
        if padding < 0:
            raise ValueError(f"padding must be at least 0, got {padding}")
        if padding_mode not in get_args(PaddingMode):
            raise ValueError(
                f"padding_mode must be one of {', '.join(get_args(PaddingMode))}, got {padding_mode!r}"
            )
        self.group, self.kernel_size = group, kernel_size
        self.stride, self.padding, self.dilation, self.padding_mode = stride, padding, dilation, padding_mode
        self.exact = exact
        self._fan_in_fields = fan_in_fields
        self.bank = FilterBank(group, kernel_size, basis, frequencies, smooth)
        self.weight = nn.Parameter(torch.empty(*weight_shape, self.bank.size))
        self.bias = nn.Parameter(torch.empty(n_biases)) if bias else None
        self.reset_parameters(init)

    def reset_parameters(self, init: Init = "kaiming") -> None:
        """Draw weights and bias anew.

        Args:
            init: "kaiming": both U(−b, b) with b = 1/√(C_in·E·K), E relative orientations and K coefficients a filter.
                "fconv2022": weights U(−1, 1)·2.4495/√(C_in·K), bias zero.
        """
        if init not in get_args(Init):
            raise ValueError(f"init must be one of {', '.join(get_args(Init))}, got {init!r}")
        relative, coefficients = self.weight.shape[2:]
        inputs = self._fan_in_fields * coefficients
        kaiming = init == "kaiming"
        bound = 1 / math.sqrt(inputs * relative) if kaiming else 2.4495 / math.sqrt(inputs)
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound) if kaiming else self.bias.zero_()

    def dense_bias(self) -> Float[Tensor, " out_channels"] | None:
        """The bias of the ordinary layer: one number per field, repeated over the orientations."""
        if self.bias is None:
            return None
        return self.bias.unsqueeze(1).expand(-1, self.group.order).reshape(-1)

    @property
    def extent(self) -> int:
        """Pixels from one end of the (dilated) kernel to the other."""
        return self.dilation * (self.kernel_size - 1) + 1

    def _sources(self) -> tuple[Tensor, ...]:
        return (self.weight, self.bank())

    def _convolve(self, x: Tensor) -> Tensor:
        if self.stride > 1 and self.exact:
            require_symmetric_sampling(x, self.extent, self.stride, self.padding)
        padding = self.padding
        if padding and self.padding_mode != "zeros":
            x, padding = F.pad(x, [padding] * 4, self.padding_mode), 0
        return F.conv2d(x, self._dense_weight(), self.dense_bias(), self.stride, padding, self.dilation)

    def extra_repr(self) -> str:
        inputs, outputs = self.weight.shape[1], self.weight.shape[0]
        return (
            f"{inputs}, {outputs}, kernel_size={self.kernel_size}, group={self.group}, stride={self.stride}, "
            f"padding={self.padding}, bias={self.bias is not None}"
        )


class LiftingConv2d(_GroupConvolution):
    """Convolution from scalar channels (an image) to regular fields.

    Holds `in_channels * out_fields * K` weights, K = kernel_size² for the default basis.

    Args:
        in_channels: number of scalar input channels.
        out_fields: number of regular output fields; the output has `out_fields * group.order` channels.
        kernel_size: odd and at least 3; any size with basis="lattice".
        group: the symmetry group.
        options: see `ConvOptions`.

    Raises:
        ValueError: naming the argument that does not fit; in the call, for wrong channels or (if exact) sizes.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> group = CyclicGroup(4)
        >>> layer = LiftingConv2d(3, 8, 5, group)
        >>> image = torch.randn(2, 3, 16, 16)
        >>> torch.allclose(layer(group.act(1, image)), group.act_field(1, layer(image)), atol=1e-5)
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_fields: int,
        kernel_size: int,
        group: Group,
        **options: Unpack[ConvOptions],
    ):
        require_positive(in_channels=in_channels, out_fields=out_fields)
        shape = (out_fields, in_channels, 1)
        super().__init__(shape, kernel_size, group, fan_in_fields=in_channels, n_biases=out_fields, **options)
        self.in_channels, self.out_fields = in_channels, out_fields

    def _assemble(self, *sources: Tensor) -> Tensor:
        weight, bank = sources
        return lifting_filter(bank, weight)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels new_h new_w"]:
        require_maps(x)
        require_channels(x, 1, self.in_channels, None, "LiftingConv2d")
        return self._convolve(x)


class GroupConv2d(_GroupConvolution):
    """Convolution from regular fields to regular fields.

    Holds `in_fields * out_fields * |G| * K` weights: |G| times fewer than a plain convolution of the same width.

    Args:
        in_fields: number of regular input fields; the input has `in_fields * group.order` channels.
        out_fields: number of regular output fields.
        kernel_size: odd and at least 3; 1; any size with basis="lattice".
        group: the symmetry group.
        options: see `ConvOptions`.

    Example:
        >>> from tenfold.groups import DihedralGroup
        >>> group = DihedralGroup(4)
        >>> layer = GroupConv2d(2, 3, 3, group)
        >>> x = torch.randn(1, 16, 9, 9)
        >>> all(
        ...     torch.allclose(layer(group.act_field(g, x)), group.act_field(g, layer(x)), atol=1e-5)
        ...     for g in group.elements
        ... )
        True
    """

    arrangement: Tensor

    def __init__(
        self, in_fields: int, out_fields: int, kernel_size: int, group: Group, **options: Unpack[ConvOptions]
    ):
        require_positive(in_fields=in_fields, out_fields=out_fields)
        require_group(group)
        shape = (out_fields, in_fields, group.order)
        super().__init__(shape, kernel_size, group, fan_in_fields=in_fields, n_biases=out_fields, **options)
        self.in_fields, self.out_fields = in_fields, out_fields
        self.register_buffer("arrangement", group_arrangement(group, in_fields), persistent=False)

    def _assemble(self, *sources: Tensor) -> Tensor:
        weight, bank = sources
        return group_filter(bank, weight, self.arrangement)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels new_h new_w"]:
        require_maps(x)
        require_channels(x, 1, self.in_fields, self.group, "GroupConv2d")
        return self._convolve(x)


class GroupConv1x1(GroupConv2d):
    """Pointwise group convolution: the general equivariant linear map of the fibres at every pixel.

    Weights U(−1, 1)·2.4495/√C_in and zero bias by default.

    Args:
        in_fields: number of regular input fields.
        out_fields: number of regular output fields.
        group: the symmetry group.
        bias: one bias per output field.
        init: "fconv2022" or "kaiming".

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> GroupConv1x1(2, 3, CyclicGroup(8))(torch.randn(1, 16, 5, 5)).shape
        torch.Size([1, 24, 5, 5])
    """

    def __init__(
        self, in_fields: int, out_fields: int, group: Group, *, bias: bool = True, init: Init = "fconv2022"
    ):
        super().__init__(in_fields, out_fields, 1, group, bias=bias, init=init)


class ProjectionConv2d(_GroupConvolution):
    """Convolution from regular fields to scalar channels (an image); every orientation is read by its own rotated kernel.

    Args:
        in_fields: number of regular input fields.
        out_channels: number of scalar output channels.
        kernel_size: odd and at least 3; 1; any size with basis="lattice".
        group: the symmetry group.
        options: see `ConvOptions`.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> group = CyclicGroup(4)
        >>> layer = ProjectionConv2d(2, 3, 5, group)
        >>> x = torch.randn(1, 8, 9, 9)
        >>> torch.allclose(layer(group.act_field(1, x)), group.act(1, layer(x)), atol=1e-5)
        True
    """

    def __init__(
        self,
        in_fields: int,
        out_channels: int,
        kernel_size: int,
        group: Group,
        **options: Unpack[ConvOptions],
    ):
        require_positive(in_fields=in_fields, out_channels=out_channels)
        shape = (out_channels, in_fields, 1)
        super().__init__(shape, kernel_size, group, fan_in_fields=in_fields, n_biases=out_channels, **options)
        self.in_fields, self.out_channels = in_fields, out_channels

    def dense_bias(self) -> Float[Tensor, " out_channels"] | None:
        return self.bias

    def _assemble(self, *sources: Tensor) -> Tensor:
        weight, bank = sources
        return projection_filter(bank, weight)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels new_h new_w"]:
        require_maps(x)
        require_channels(x, 1, self.in_fields, self.group, "ProjectionConv2d")
        return self._convolve(x)


class GroupConvTranspose2d(_GroupConvolution):
    """Transposed convolution from regular fields to regular fields, the adjoint of a `GroupConv2d`.

    New size = (size − 1)·stride − 2·padding + extent + output_padding. `output_padding` adds pixels on one side only,
    which breaks the symmetry; kernel 4, stride 2, padding 1 with basis="lattice" doubles the size exactly.

    Args:
        in_fields: number of regular input fields.
        out_fields: number of regular output fields.
        kernel_size: odd and at least 3; any size with basis="lattice".
        group: the symmetry group.
        output_padding: pixels added at the bottom and right; needs exact=False.
        options: see `ConvOptions`; padding_mode must be "zeros".

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> layer = GroupConvTranspose2d(2, 3, 4, CyclicGroup(4), stride=2, padding=1, basis="lattice")
        >>> layer(torch.randn(1, 8, 5, 5)).shape
        torch.Size([1, 12, 10, 10])
    """

    arrangement: Tensor

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        group: Group,
        *,
        output_padding: int = 0,
        **options: Unpack[ConvOptions],
    ):
        require_positive(in_fields=in_fields, out_fields=out_fields)
        require_group(group)
        if options.get("padding_mode", "zeros") != "zeros":
            raise ValueError(
                f"padding_mode of a transposed convolution must be 'zeros', got {options['padding_mode']!r}"
            )
        if output_padding and options.get("exact", True):
            raise ValueError(
                f"output_padding={output_padding} adds pixels on one side and breaks the symmetry; use kernel 4, "
                "stride 2, padding 1 with basis='lattice', or accept an approximate layer with exact=False"
            )
        shape = (in_fields, out_fields, group.order)
        super().__init__(shape, kernel_size, group, fan_in_fields=in_fields, n_biases=out_fields, **options)
        self.in_fields, self.out_fields, self.output_padding = in_fields, out_fields, output_padding
        self.register_buffer("arrangement", group_arrangement(group, out_fields), persistent=False)

    def _assemble(self, *sources: Tensor) -> Tensor:
        weight, bank = sources
        return group_filter(bank, weight, self.arrangement)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels new_h new_w"]:
        require_maps(x)
        require_channels(x, 1, self.in_fields, self.group, "GroupConvTranspose2d")
        return F.conv_transpose2d(
            x,
            self._dense_weight(),
            self.dense_bias(),
            self.stride,
            self.padding,
            self.output_padding,
            1,
            self.dilation,
        )
