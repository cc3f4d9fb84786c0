"""B-, F-, TL- and SA-Conv as one family of layers (sections 3.2–3.4).

                     basis="bicubic"    basis="fourier"
    geometry="none"      B-Conv             F-Conv          filters rotated
    geometry="learned"   TL-Conv            TL-Conv         … in a frame learned by the layer
    geometry="adaptive"  SA-Conv            SA-Conv         … and bent by the w of every image

w acts through the coordinates of the filters and nowhere else. Layout of feature maps: channel = field·N + orientation.
"""

from typing import Any, Unpack, cast, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.geometry import BentBank, Frame, Geometry, Mask, Parametrization, require_finite
from sa_conv.recompute import Assemble, recomputed_conv2d
from sa_conv.sample_conv import Strategy, sample_conv2d
from tenfold.groupconv import Basis, ConvOptions, GroupConv2d, LiftingConv2d, ProjectionConv2d
from tenfold.groupconv.checks import require_channels, require_maps, require_symmetric_sampling
from tenfold.groupconv.conv import PaddingMode
from tenfold.groups import CyclicGroup, Group


class SAConvOptions(ConvOptions, total=False):
    """Keyword arguments of all layers of the family, beside those of `tenfold.groupconv.ConvOptions`.

    Args:
        geometry: "none" (default), "learned" or "adaptive"; see the table of the module.
        mask: "transformed" (default), "detached", "static" or "none"; see `BentBank`.
        parametrization: "raw" (default) or "exp"; see `Frame`.
        hyper_scale: s, the factor of w, default 1.
        learn_base: train the layer's own (θ0, Cx, Cy), default True; deraining keeps them at (0, 1, 1).
        strategy: how to convolve each image with its own filters, default "auto"; see `sample_conv2d`.
        recompute: assemble the filters of the images again in the backward pass instead of keeping them, default True.
    """

    geometry: Geometry
    mask: Mask
    parametrization: Parametrization
    hyper_scale: float
    learn_base: bool
    strategy: Strategy
    recompute: bool


class Bending(nn.Module):
    """What the layers of the family share; it stands before the layer of `tenfold.groupconv` in the order of resolution."""

    weight: nn.Parameter
    group: Group
    kernel_size: int
    stride: int
    padding: int
    dilation: int
    exact: bool
    extent: int
    padding_mode: PaddingMode
    frame: Frame | None

    def _bend(
        self,
        basis: Basis,
        frequencies: int | None,
        geometry: Geometry = "none",
        mask: Mask = "transformed",
        parametrization: Parametrization = "raw",
        hyper_scale: float = 1.0,
        learn_base: bool = True,
        strategy: Strategy = "auto",
        recompute: bool = True,
    ) -> None:
        if geometry not in get_args(Geometry):
            raise ValueError(f"geometry must be 'none', 'learned' or 'adaptive', got {geometry!r}")
        if strategy not in get_args(Strategy):
            raise ValueError(f"strategy must be one of {', '.join(get_args(Strategy))}, got {strategy!r}")
        if geometry == "learned" and not learn_base:
            raise ValueError("geometry='learned' with learn_base=False learns nothing: use geometry='none'")
        self.geometry, self.strategy, self.recompute = geometry, strategy, recompute
        self.frame = None
        if geometry != "none":
            self.frame = Frame(parametrization, hyper_scale, learn_base)
            assert isinstance(self.group, CyclicGroup)
            self.bent = BentBank(self.group, self.kernel_size, basis, frequencies, mask)

    def _bank(self, inverse: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch K order p p"]:
        """The filter functions in the frame D⁻¹ = `inverse`."""
        return self.bent(inverse, self.get_submodule("bank").whitening).to(self.weight.dtype)

    def _sources(self) -> tuple[Tensor, ...]:
        if self.frame is None:
            return cast(tuple[Tensor, ...], super()._sources())  # type: ignore[misc]
        with _full_precision(self.weight):
            return (self.weight, self._bank(self.frame()))

    def sample_filters(self, w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch out in p p"]:
        """The dense kernels for given w, of one image or of a batch; needs geometry="adaptive"."""
        if self.frame is None or self.geometry != "adaptive":
            raise ValueError(f"sample_filters needs geometry='adaptive', this layer has {self.geometry!r}")
        with _full_precision(w):
            return self._bent_filters(self.weight, self.frame(w))

    def _bent_filters(
        self, weight: Tensor, inverse: Float[Tensor, "*batch 2 2"]
    ) -> Float[Tensor, "*batch out in p p"]:
        return self._assemble(weight, self._bank(inverse))  # type: ignore[operator]

    def _forward(self, x: Tensor, w: Tensor | None) -> Tensor:
        if self.geometry != "adaptive":
            if w is not None:
                raise ValueError(
                    f"w belongs to geometry='adaptive', this layer has geometry={self.geometry!r}"
                )
            return self._convolve(x)  # type: ignore[operator]
        w = self._checked(x, w)
        if self.stride > 1 and self.exact:
            require_symmetric_sampling(x, self.extent, self.stride, self.padding)
        padding = self.padding
        if padding and self.padding_mode != "zeros":
            x, padding = F.pad(x, [padding] * 4, self.padding_mode), 0
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        with _full_precision(x):
            y = self._adapted(x, w, padding)
            bias = self.dense_bias()  # type: ignore[operator]
            return y if bias is None else y + bias.to(y.dtype)[:, None, None]

    def _adapted(self, x: Tensor, w: Float[Tensor, "*batch 3"], padding: int) -> Tensor:
        assert self.frame is not None
        if len(x) == 0:
            w = w.new_zeros(3)
        inverse = self.frame(w)
        if w.ndim == 1:  # one geometry for the whole batch: an ordinary convolution
            filters = self._bent_filters(self.weight, inverse).to(x.dtype)
            return F.conv2d(x, filters, None, self.stride, padding, self.dilation)
        steps = {"stride": self.stride, "padding": padding, "dilation": self.dilation}
        # Under torch.compile the partitioner decides what to recompute.
        if self.recompute and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            assemble = cast(Assemble, self._assemble)
            return recomputed_conv2d(
                x, self.weight, inverse, self._bank, assemble, strategy=self.strategy, **steps
            )
        filters = self._bent_filters(self.weight, inverse).to(x.dtype)
        return sample_conv2d(x, filters, strategy=self.strategy, **steps)

    def _checked(self, x: Tensor, w: Tensor | None) -> Tensor:
        """w as the layer uses it: (b, 3), or (3,) for one geometry for the whole batch."""
        if w is None:
            raise ValueError(
                "w is missing: a layer with geometry='adaptive' takes forward(x, w), w of shape (b, 3) from a hypernetwork"
            )
        if w.shape != (3,) and w.shape != (len(x), 3):
            raise ValueError(
                f"w must have shape ({len(x)}, 3), one (Δθ0, ΔCx, ΔCy) per image, or (3,), got {tuple(w.shape)}"
            )
        if w.device != x.device:
            raise ValueError(f"w is on {w.device}, x on {x.device}: move w with w.to(x.device)")
        assert self.frame is not None
        if w.dtype != self.frame.base.dtype:
            raise TypeError(f"w is {w.dtype}, the layer {self.frame.base.dtype}: convert w with w.to(...)")
        if (
            not torch.compiler.is_compiling() and w.device.type == "cpu"
        ):  # elsewhere asking would wait for the device
            require_finite(w.reshape(-1, 3))
        return w[0] if len(x) == 1 and w.ndim == 2 else w


def _full_precision(like: Tensor) -> torch.autocast:
    """Autocast stays outside: the filter functions need float32 (P17)."""
    return torch.autocast(like.device.type, enabled=False)


def _split(
    options: SAConvOptions, N: int, kernel_size: int
) -> tuple[CyclicGroup, ConvOptions, dict[str, Any]]:
    """The group, the options of the static layer, and those of the geometry."""
    if isinstance(N, bool) or not isinstance(N, int):
        raise TypeError(f"N must be an int, got {N!r}")
    if N < 1:
        raise ValueError(f"N must be at least 1, got {N}")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
    mine = {
        k: v
        for k, v in options.items()
        if k in SAConvOptions.__annotations__ and k not in ConvOptions.__annotations__
    }
    static = {k: v for k, v in options.items() if k not in mine}
    mine |= {"basis": options.get("basis", "bicubic"), "frequencies": options.get("frequencies")}
    return CyclicGroup(N), cast(ConvOptions, static), mine


class SALiftingConv2d(Bending, LiftingConv2d):
    """From scalar channels (an image) to fields of N orientations.

    Args:
        in_channels: scalar input channels.
        fields: output fields C; the output has C·N channels.
        kernel_size: p, odd and at least 3.
        N: number of orientations.
        options: see `SAConvOptions`.

    Example:
        >>> layer = SALiftingConv2d(3, 4, geometry="adaptive")
        >>> layer(torch.randn(2, 3, 16, 16), torch.zeros(2, 3)).shape
        torch.Size([2, 32, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        fields: int,
        kernel_size: int = 5,
        N: int = 8,
        **options: Unpack[SAConvOptions],
    ):
        group, static, bending = _split(options, N, kernel_size)
        super().__init__(in_channels, fields, kernel_size, group, **static)
        self._bend(**bending)

    def forward(
        self, x: Float[Tensor, "b in_channels h w"], w: Float[Tensor, "*b 3"] | None = None
    ) -> Float[Tensor, "b out_channels new_h new_w"]:
        """
        Args:
            x: images.
            w: (Δθ0, ΔCx, ΔCy) of every image, or one for all; given if and only if geometry="adaptive".
        """
        require_maps(x)
        require_channels(x, 1, self.in_channels, None, type(self).__name__)
        return self._forward(x, w)


class SAGroupConv2d(Bending, GroupConv2d):
    """From fields to fields.

    Args:
        in_fields: input fields; the input has in_fields·N channels.
        out_fields: output fields.
        kernel_size: p, odd and at least 3.
        N: number of orientations.
        options: see `SAConvOptions`.

    Example:
        >>> b_conv = SAGroupConv2d(2, 4)
        >>> tl_conv = SAGroupConv2d(2, 4, geometry="learned")
        >>> sum(p.numel() for p in tl_conv.parameters()) - sum(p.numel() for p in b_conv.parameters())
        3
        >>> tl_conv(torch.randn(1, 16, 9, 9)).shape
        torch.Size([1, 32, 9, 9])
    """

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: int = 5,
        N: int = 8,
        **options: Unpack[SAConvOptions],
    ):
        group, static, bending = _split(options, N, kernel_size)
        super().__init__(in_fields, out_fields, kernel_size, group, **static)
        self._bend(**bending)

    def forward(
        self, x: Float[Tensor, "b in_channels h w"], w: Float[Tensor, "*b 3"] | None = None
    ) -> Float[Tensor, "b out_channels new_h new_w"]:
        """
        Args:
            x: feature maps, field-major.
            w: as for `SALiftingConv2d`.
        """
        require_maps(x)
        require_channels(x, 1, self.in_fields, self.group, type(self).__name__)
        return self._forward(x, w)


class SAProjectionConv2d(Bending, ProjectionConv2d):
    """From fields to scalar channels. The kernel's input channels are (field, orientation), as everywhere (P2).

    Args:
        in_fields: input fields; the input has in_fields·N channels.
        out_channels: scalar output channels.
        kernel_size: p, odd and at least 3.
        N: number of orientations.
        options: see `SAConvOptions`.

    Example:
        >>> layer = SAProjectionConv2d(4, 3, basis="fourier", geometry="adaptive", mask="detached")
        >>> layer(torch.randn(2, 32, 16, 16), torch.zeros(3)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        in_fields: int,
        out_channels: int,
        kernel_size: int = 5,
        N: int = 8,
        **options: Unpack[SAConvOptions],
    ):
        group, static, bending = _split(options, N, kernel_size)
        super().__init__(in_fields, out_channels, kernel_size, group, **static)
        self._bend(**bending)

    def forward(
        self, x: Float[Tensor, "b in_channels h w"], w: Float[Tensor, "*b 3"] | None = None
    ) -> Float[Tensor, "b out_channels new_h new_w"]:
        """
        Args:
            x: feature maps, field-major.
            w: as for `SALiftingConv2d`.
        """
        require_maps(x)
        require_channels(x, 1, self.in_fields, self.group, type(self).__name__)
        return self._forward(x, w)
