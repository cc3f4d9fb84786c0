"""What the restoration networks share: the hypernetwork, the shift of the mean, the frame of a tied network, the tails."""

from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.geometry import Frame, Mask, Parametrization, require_finite
from sa_conv.hyper import FeatureHyperNet, ImageHyperNet
from sa_conv.layers import SAConvOptions
from sa_conv.models.convolutions import Convolutions, convolutions
from sa_conv.sample_conv import Strategy
from tenfold.checkpoint import PretrainedMixin
from tenfold.groupconv import Basis

Tail = Literal["plain", "equivariant"]
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
_LAYER_OPTIONS = ("mask", "parametrization", "hyper_scale", "strategy", "recompute")


class NetworkOptions(TypedDict, total=False):
    """Keyword arguments of all networks.

    Args:
        in_channels: 1 or 3, default 3.
        kernel_size: p; default 5, for "cnn" 3.
        N: orientations, default 8, for "p4" 4.
        basis: of "tlconv" and "saconv": "bicubic" or "fourier"; the paper's choice for each network is the default.
        tail: "plain" (the paper: ordinary convolutions behind the body, so the whole is not equivariant, P1) or
            "equivariant" (bilinear up-sampling of the fields, then a projection).
        value_range: largest value of the images, default 255; None for data without a range, whose mean is not shifted.
        normalize_input: divide the input of the hypernetwork by `value_range` (the paper does not), default False.
        mask, parametrization, hyper_scale, strategy, recompute: see `sa_conv.layers.SAConvOptions`.
        tie_geometry: one frame for the whole network instead of one per layer (P18), default False. With it a stack of
            layers is equivariant to one conjugated group.
    """

    in_channels: int
    kernel_size: int
    N: int
    basis: Basis
    tail: Tail
    value_range: float | None
    normalize_input: bool
    mask: Mask
    parametrization: Parametrization
    hyper_scale: float
    strategy: Strategy
    recompute: bool
    tie_geometry: bool


class RestorationNetwork(PretrainedMixin, nn.Module):
    """Base of EDSR, RDN and RCAN: an image comes in, the same image `scale` times as large comes out.

    `forward` finds the geometry of every image and hands it to `restore`, which the networks define.
    """

    mean: Tensor
    hyper: ImageHyperNet | None
    frame: Frame | None

    def __init__(
        self,
        variant: str,
        scale: int,
        config: dict[str, Any],
        *,
        shift_mean: bool,
        default_basis: Basis,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        if unknown := set(options) - set(NetworkOptions.__annotations__):
            raise TypeError(
                f"unknown argument {sorted(unknown)[0]!r}; known: {', '.join(NetworkOptions.__annotations__)}"
            )
        self.in_channels = options.get("in_channels", 3)
        self.tail_kind = options.get("tail", "plain")
        tied = options.get("tie_geometry", False)
        if self.in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 or 3, got {self.in_channels}")
        if self.tail_kind not in get_args(Tail):
            raise ValueError(f"tail must be 'plain' or 'equivariant', got {self.tail_kind!r}")
        if variant == "cnn" and self.tail_kind == "equivariant":
            raise ValueError("tail='equivariant' needs fields, variant='cnn' has none")
        if tied and variant not in ("tlconv", "saconv"):
            raise ValueError(f"tie_geometry belongs to variants tlconv and saconv, got variant={variant!r}")
        if scale not in (1, 2, 3, 4):
            raise ValueError(f"scale must be 1, 2, 3 or 4, got {scale}")
        self.variant, self.scale = variant, scale
        self.config = {"variant": variant, "scale": scale, **config, **options}

        layer_options = SAConvOptions(**{k: v for k, v in options.items() if k in _LAYER_OPTIONS})  # type: ignore[typeddict-item]
        kernel_size = options.get("kernel_size", 3 if variant == "cnn" else 5)
        N = options.get("N", 4 if variant == "p4" else 8)
        basis = options.get("basis", default_basis)
        self.convolutions: Convolutions = convolutions(variant, kernel_size, N, basis, layer_options, tied)

        value_range = options.get("value_range", 255.0)
        self.hyper = None
        if variant == "saconv":
            self.hyper = ImageHyperNet(
                value_range=value_range, normalize_input=options.get("normalize_input", False)
            )
        parametrization = options.get("parametrization", "raw")
        self.frame = Frame(parametrization, options.get("hyper_scale", 1.0)) if tied else None
        self.register_buffer(
            "mean", _mean(self.in_channels, value_range if shift_mean else None), persistent=False
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c scaled_h scaled_w"]:
        """
        Args:
            x: degraded images, 0 … value_range.

        Raises:
            ValueError: if the shape does not fit, or the hypernetwork answers NaN; the image is named.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must have shape (b, {self.in_channels}, h, w), got {tuple(x.shape)}")
        return self.restore(x - self.mean, *self.geometry(x)) + self.mean

    def geometry(self, x: Float[Tensor, "b c h w"]) -> tuple[()] | tuple[Float[Tensor, "*b 3"]]:
        """What the layers get beside their input: w of every image for saconv, the shared frame of a tied network, or nothing."""
        w = None
        if self.hyper is not None:
            with torch.autocast(x.device.type, enabled=False):
                w = self.hyper(x.to(self.mean.dtype))
            if not torch.compiler.is_compiling():
                require_finite(w)
        if self.frame is not None:
            identity = self.frame.base.new_tensor(Frame.identity(self.frame.parametrization))
            w = self.frame.base - identity + (0 if w is None else self.frame.scale * w)
        return () if w is None else (w,)

    def restore(self, x: Tensor, *w: Tensor) -> Tensor:
        """The network behind the shift of the mean."""
        raise NotImplementedError

    def freeze_backbone(self) -> None:
        """Train the hypernetwork only."""
        if self.hyper is None:
            raise ValueError(f"variant={self.variant!r} has no hypernetwork to train")
        self.requires_grad_(False)
        self.hyper.requires_grad_(True)


class Residual(nn.Module):
    """x + scale·(group conv – ReLU – group conv)."""

    def __init__(self, conv: Convolutions, fields: int, res_scale: float):
        super().__init__()
        self.conv1, self.conv2 = conv.group(fields, fields), conv.group(fields, fields)
        self.res_scale = res_scale

    def forward(self, x: Tensor, *w: Tensor) -> Tensor:
        return x + self.res_scale * self.conv2(F.relu(self.conv1(x, *w)), *w)


class PlainTail(nn.Module):
    """Ordinary convolutions: up-sampling by sub-pixels, then the image."""

    def __init__(self, channels: int, out_channels: int, scale: int, kernel_size: int = 3):
        super().__init__()
        self.upsample = nn.Sequential()
        for factor in {1: (), 2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            self.upsample.append(nn.Conv2d(channels, channels * factor**2, 3, padding=1))
            self.upsample.append(nn.PixelShuffle(factor))
        self.conv = nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor, *w: Tensor) -> Tensor:
        return self.conv(self.upsample(x))


class EquivariantTail(nn.Module):
    """Bilinear up-sampling, which commutes with linear maps of the plane up to O(h²), then a projection to the image."""

    def __init__(self, conv: Convolutions, fields: int, out_channels: int, scale: int):
        super().__init__()
        self.scale = scale
        self.project = conv.project(fields, out_channels)

    def forward(self, x: Tensor, *w: Tensor) -> Tensor:
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return self.project(x, *w)


def all_hypernetworks(model: nn.Module) -> list[nn.Module]:
    """The hypernetworks of a model, in order."""
    return [m for m in model.modules() if isinstance(m, ImageHyperNet | FeatureHyperNet)]


def _mean(channels: int, value_range: float | None) -> Float[Tensor, "1 c 1 1"]:
    mean = torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1) * (value_range or 0.0)
    if channels == 3:
        return mean
    return (mean * mean.new_tensor((0.2989, 0.5870, 0.1140)).view(1, 3, 1, 1)).sum(1, keepdim=True)
