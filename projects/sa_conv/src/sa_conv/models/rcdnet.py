"""RCDNet: proximal-gradient deraining unfolded into stages (section 4).

The rainy image is O = B + Σ_c K_c ∗ M_c: a background and rain kernels K convolved with sparse rain maps M. Each stage
takes one gradient step on M and one on B and lets a network play the proximal operator:

    M ← Mnet(M − (η₁/10)·convᵀ(CM − (O − B), K/10))         CM = conv(M, K/10)
    B, Z ← Xnet([B − (η₂/10)(B − (O − CM)), Z])             Z: dual channels that travel along

The Xnets are equivariant (or, for "cnn", plain with batch norm); in SA-Conv each has its own hypernetwork, which reads the
35 channels [B, Z]. Their frames stay at the identity and w is scaled by 0.01.
"""

from typing import Any, NamedTuple, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.geometry import require_finite
from sa_conv.hyper import FeatureHyperNet
from sa_conv.layers import SAConvOptions
from sa_conv.models.convolutions import Convolutions, convolutions
from sa_conv.models.network import NetworkOptions, Residual
from tenfold.checkpoint import PretrainedMixin

_KERNEL = 9
_OPTIONS = ("kernel_size", "N", "basis", "mask", "parametrization", "hyper_scale", "strategy", "recompute")


class Derained(NamedTuple):
    """What RCDNet estimates.

    Args:
        background: the derained image, from the final refinement.
        initial: B⁰.
        backgrounds: B after each stage, then `background`: S + 1 images.
        rains: CM of each stage: S rain layers.
    """

    background: Float[Tensor, "b 3 h w"]
    initial: Float[Tensor, "b 3 h w"]
    backgrounds: tuple[Float[Tensor, "b 3 h w"], ...]
    rains: tuple[Float[Tensor, "b 3 h w"], ...]


class RCDNet(PretrainedMixin, nn.Module):
    """RCDNet with equivariant background networks.

    Parameters that the official code stores but never uses are left out: 15 of its 16 copies of the rain kernels, one
    Mnet and one step size. `published_but_unused` of them complete the paper's count.

    Args:
        variant: of the Xnets; see `sa_conv.models.convolutions`.
        n_stages: S, unfolded iterations.
        n_maps: rain maps M.
        n_dual: dual channels Z.
        fields: width of the Xnets.
        n_blocks: residual blocks in each Xnet and Mnet.
        options: kernel_size, N, basis, mask, parametrization, hyper_scale, strategy, recompute of `NetworkOptions`; SA-Conv uses the
            Fourier basis, a mask that passes no gradient, and hyper_scale 0.01.

    Example:
        >>> net = RCDNet("saconv", n_stages=2, n_maps=4, n_dual=4, fields=1, n_blocks=1)
        >>> net(255 * torch.rand(2, 3, 20, 24)).shape
        torch.Size([2, 3, 20, 24])
        >>> len(net.stages(255 * torch.rand(2, 3, 20, 24)).rains)
        2
    """

    def __init__(
        self,
        variant: str = "saconv",
        *,
        n_stages: int = 17,
        n_maps: int = 32,
        n_dual: int = 32,
        fields: int = 5,
        n_blocks: int = 4,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        counts = {
            "n_stages": n_stages,
            "n_maps": n_maps,
            "n_dual": n_dual,
            "fields": fields,
            "n_blocks": n_blocks,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if unknown := set(options) - set(_OPTIONS):
            raise TypeError(
                f"unknown argument {sorted(unknown)[0]!r} of RCDNet; known: {', '.join(_OPTIONS)}"
            )
        self.config: dict[str, Any] = {"variant": variant, **counts, **options}
        self.variant, self.n_stages, self.n_dual = variant, n_stages, n_dual
        conv = _convolutions(variant, options)
        channels = 3 + n_dual

        self.dual = nn.Parameter(torch.full((n_dual, 3, 3, 3), 1 / 9))  # z0 = conv(O)
        self.first_kernels = nn.Parameter(rain_kernels(n_maps))
        self.kernels = nn.Parameter(rain_kernels(n_maps))
        self.threshold = nn.Parameter(torch.ones(()))  # τ
        self.map_steps = nn.Parameter(torch.ones(n_stages - 1))  # η₁
        self.background_steps = nn.Parameter(torch.full((n_stages,), 5.0))  # η₂
        self.map_nets = nn.ModuleList(MapNet(n_maps, n_blocks) for _ in range(n_stages))

        def proximal() -> nn.Module:
            if variant == "cnn":
                return PlainProximal(channels, n_blocks)
            return EquivariantProximal(conv, channels, fields, n_blocks, adaptive=variant == "saconv")

        self.first_net, self.last_net = proximal(), proximal()
        self.background_nets = nn.ModuleList(proximal() for _ in range(n_stages))

    @property
    def published_but_unused(self) -> int:
        """Parameters in the paper's count that nothing reads: S − 2 copies of the kernels, one Mnet, one step size."""
        map_net = sum(p.numel() for p in self.map_nets[0].parameters())
        return (self.n_stages - 2) * self.kernels.numel() + map_net + 1

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The derained image.

        Args:
            x: rainy images O in 0…255.
        """
        return self.stages(x).background

    def stages(self, x: Float[Tensor, "b 3 h w"]) -> Derained:
        """All estimates on the way."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x must have shape (b, 3, h, w), got {tuple(x.shape)}")
        pad = _KERNEL // 2
        z = F.conv2d(x, self.dual, padding=1)
        initial, z = self._refine(self.first_net, x, z)
        background, maps = initial, None
        backgrounds, rains = [], []
        kernels = self.kernels / 10
        for s in range(self.n_stages):
            if maps is None:
                sparse = F.relu(x - background - self.threshold)
                maps = self.map_nets[0](F.conv_transpose2d(sparse, self.first_kernels / 10, padding=pad))
            else:
                residual = rains[-1] - (x - background)
                gradient = F.conv_transpose2d(residual, kernels, padding=pad)
                maps = self.map_nets[s](maps - self.map_steps[s - 1] / 10 * gradient)
            rains.append(F.conv2d(maps, kernels, padding=pad))
            step = self.background_steps[s] / 10 * (background - (x - rains[-1]))
            background, z = self._refine(self.background_nets[s], background - step, z)
            backgrounds.append(background)
        final, _ = self._refine(self.last_net, background, z)
        return Derained(final, initial, (*backgrounds, final), tuple(rains))

    def _refine(self, net: nn.Module, background: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        refined = net(torch.cat([background, z], 1))
        return refined[:, :3], refined[:, 3:]


class MapNet(nn.Module):
    """Proximal operator of the rain maps: residual blocks with batch norm, then a threshold per map."""

    def __init__(self, n_maps: int, n_blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_plain_block(n_maps) for _ in range(n_blocks))
        self.threshold = nn.Parameter(torch.full((n_maps,), 0.5))

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.blocks:
            maps = F.relu(maps + block(maps))
        return F.relu(maps - self.threshold[:, None, None])


class PlainProximal(nn.Module):
    """Xnet of the original RCDNet."""

    def __init__(self, channels: int, n_blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_plain_block(channels) for _ in range(n_blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = F.relu(x + block(x))
        return x


class EquivariantProximal(nn.Module):
    """Xnet: lifting, residual blocks, projection; ReLU(x + 0.1·…)."""

    def __init__(self, conv: Convolutions, channels: int, fields: int, n_blocks: int, adaptive: bool):
        super().__init__()
        self.head = conv.lift(channels, fields)
        self.blocks = nn.ModuleList(Residual(conv, fields, 0.1) for _ in range(n_blocks))
        self.project = conv.project(fields, channels)
        self.hyper = FeatureHyperNet(channels) if adaptive else None

    def forward(self, x: Tensor) -> Tensor:
        w = () if self.hyper is None else (self._w(x),)
        h = self.head(x, *w)
        for block in self.blocks:
            h = block(h, *w)
        return F.relu(x + 0.1 * self.project(h, *w))

    def _w(self, x: Tensor) -> Float[Tensor, "b 3"]:
        assert self.hyper is not None
        with torch.autocast(x.device.type, enabled=False):
            w = self.hyper(x.to(next(self.hyper.parameters()).dtype))
        if not torch.compiler.is_compiling():
            require_finite(w)
        return w


def rain_kernels(n_maps: int = 32) -> Float[Tensor, "3 n_maps 9 9"]:
    """Gaussian-like streaks to start from, the same for all colours, each normalised to sum 1.

    The first 12 are thin and long (2.5 + i/4), the others wider (2 + i/4, i counting from 1).

    >>> rain_kernels().shape, round(float(rain_kernels()[0, 5].sum()), 5)
    (torch.Size([3, 32, 9, 9]), 1.0)
    """
    axis = torch.arange(-4.0, 5.0)
    kernels = []
    for i in range(1, n_maps + 1):
        long, inner, std = (2.5 + 0.25 * i, 0.1, 0.25) if i <= 12 else (2 + 0.25 * i, 0.2, 0.5)
        offset = round(4 * inner)
        shrunk = axis.sign() * (axis.abs().clamp(min=offset) - offset)
        x, y = shrunk[None, :], shrunk[:, None] / long
        kernel = torch.exp(-(x * x + y * y) / (2 * std * std))
        kernels.append(kernel / kernel.sum())
    return torch.stack(kernels).expand(3, -1, -1, -1).clone()


def _plain_block(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
    )


def _convolutions(variant: str, options: NetworkOptions) -> Convolutions:
    bent: dict[str, Any] = {
        k: v
        for k, v in options.items()
        if k in ("mask", "parametrization", "hyper_scale", "strategy", "recompute")
    }
    if variant == "saconv":
        bent = {"mask": "detached", "hyper_scale": 0.01, "learn_base": False} | bent
    return convolutions(
        variant,
        options.get("kernel_size", 5),
        options.get("N", 4 if variant == "p4" else 8),
        options.get("basis", "fourier"),
        SAConvOptions(**bent),  # type: ignore[typeddict-item]
    )
