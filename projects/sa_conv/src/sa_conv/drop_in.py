"""SA-Conv for networks that know nothing of w: one self-contained layer, and a sequence that shares a hypernetwork."""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.hyper import FeatureHyperNet
from sa_conv.layers import Bending, SAConvOptions, SAGroupConv2d, SALiftingConv2d


class SAConv2d(nn.Module):
    """Drop-in for `nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")`: it reads w from its own input.

    One self-contained layer for networks that know nothing of w. Inside a network built for the purpose, share one
    hypernetwork among the layers instead (`SASequential`, `sa_conv.models`).

    Args:
        in_channels: multiple of N, or with `image=True` any number of scalar channels.
        out_channels: multiple of N.
        kernel_size: p, odd and at least 3.
        N: number of orientations.
        image: the input is an image, not a feature map.
        options: see `SAConvOptions`; geometry is "adaptive".

    Example:
        >>> import torch
        >>> from sa_conv import SAConv2d
        >>> net = nn.Sequential(
        ...     SAConv2d(3, 32, image=True),  # was nn.Conv2d(3, 32, 5, padding=2)
        ...     nn.ReLU(),
        ...     SAConv2d(32, 32),  # was nn.Conv2d(32, 32, 5, padding=2)
        ...     nn.ReLU(),
        ...     nn.Conv2d(32, 3, 3, padding=1),
        ... )
        >>> images = torch.rand(4, 3, 24, 24)
        >>> loss = (net(images + 0.1 * torch.randn_like(images)) - images).abs().mean()
        >>> loss.backward()
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 5,
        *,
        N: int = 8,
        image: bool = False,
        **options: Unpack[SAConvOptions],
    ):
        super().__init__()
        if options.setdefault("geometry", "adaptive") != "adaptive":
            raise ValueError(
                f"geometry of SAConv2d must be 'adaptive', got {options['geometry']!r}: use SAGroupConv2d for the others"
            )
        counts = {"out_channels": out_channels} | ({} if image else {"in_channels": in_channels})
        for name, channels in counts.items():
            if isinstance(N, int) and N > 0 and channels % N:
                raise ValueError(f"{name} must be a multiple of the {N} orientations, got {channels}")
        fields = out_channels // N
        self.conv: SALiftingConv2d | SAGroupConv2d = (
            SALiftingConv2d(in_channels, fields, kernel_size, N, **options)
            if image
            else SAGroupConv2d(in_channels // N, fields, kernel_size, N, **options)
        )
        self.hyper = FeatureHyperNet(in_channels)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels new_h new_w"]:
        return self.conv(x, self.hyper(x))


class SASequential(nn.Sequential):
    """A sequence of layers that share the w of one hypernetwork; layers outside the family are called without it.

    Args:
        layers: modules, called in order.
        hyper: reads w from the input of the sequence.

    Example:
        >>> import torch
        >>> from sa_conv import ImageHyperNet, SAProjectionConv2d
        >>> net = SASequential(
        ...     SALiftingConv2d(3, 4, geometry="adaptive"),
        ...     nn.ReLU(),
        ...     SAProjectionConv2d(4, 3, geometry="adaptive"),
        ...     hyper=ImageHyperNet(),
        ... )
        >>> net(255 * torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(self, *layers: nn.Module, hyper: nn.Module):
        super().__init__(*layers)
        self.add_module("hyper", hyper)

    def forward(self, x: Tensor) -> Tensor:
        w = self.get_submodule("hyper")(x)
        for name, layer in self.named_children():
            if name == "hyper":
                continue
            adaptive = isinstance(layer, Bending) and layer.geometry == "adaptive"
            x = layer(x, w) if adaptive else layer(x)
        return x
