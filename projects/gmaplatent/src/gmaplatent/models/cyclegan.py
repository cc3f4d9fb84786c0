"""A small CycleGAN: two generators that translate images both ways, without labels or pairs (§4, baseline vi).

    least squares (LSGAN):  D: mean (D(y) - 1)² + mean D(G(x))²     G: mean (D(G(x)) - 1)²
    cycle:                  λ_cyc (|F(G(x)) - x|₁ + |G(F(y)) - y|₁),  λ_cyc = 10

with Adam, rate 2e-4, β₁ = 0.5, and discriminators that see a pool of earlier translations.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from ..data.images import require_images


class ResNetGenerator(nn.Module):
    """Down twice, residual blocks, up twice; images in [0, 1] to images in [0, 1].

    Args:
        channels: of the images, in and out.
        width: channels of the first layer.
        n_blocks: residual blocks; 6 in §4.

    Example:
        >>> ResNetGenerator(1, width=4, n_blocks=1)(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(self, channels: int, width: int = 32, n_blocks: int = 6):
        super().__init__()
        wide = 4 * width
        self.layers = nn.Sequential(
            _block(nn.Conv2d(channels, width, 7, 1, 3, bias=False, padding_mode="reflect"), width),
            _block(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), 2 * width),
            _block(nn.Conv2d(2 * width, wide, 3, 2, 1, bias=False), wide),
            *(_Residual(wide) for _ in range(n_blocks)),
            _block(nn.ConvTranspose2d(wide, 2 * width, 4, 2, 1, bias=False), 2 * width),
            _block(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), width),
            nn.Conv2d(width, channels, 7, 1, 3, padding_mode="reflect"),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return torch.sigmoid(self.layers(2 * x - 1))


def _block(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(channels), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        first, second = (
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False, padding_mode="reflect") for _ in range(2)
        )
        self.layers = nn.Sequential(_block(first, channels), second, nn.InstanceNorm2d(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.layers(x)


class PatchDiscriminator(nn.Module):
    """A score for every patch of an image; two stages of stride 2 see all of an image of 32 × 32.

    Args:
        channels: of the images.
        width: channels of the first layer.
        n_stages: stages of stride 2; 1, 2, 3 see patches of 16, 34, 70 pixels, the last of which is the discriminator of
            images of 256 × 256.

    Example:
        >>> PatchDiscriminator(1, width=4)(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 1, 6, 6])
    """

    def __init__(self, channels: int, width: int = 32, n_stages: int = 2):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(1, n_stages + 1):
            a, b = width * min(2 ** (i - 1), 8), width * min(2**i, 8)
            stride = 2 if i < n_stages else 1
            layers += [nn.Conv2d(a, b, 4, stride, 1, bias=False), nn.InstanceNorm2d(b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width * min(2**n_stages, 8), 1, 4, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 p q"]:
        return self.layers(2 * x - 1)


class CycleGAN(PretrainedMixin, nn.Module):
    """Both generators and both discriminators.

    Args:
        channels: of the images of both domains.
        width: channels of the first layers.
        n_blocks: residual blocks of the generators.
        n_stages: stages of stride 2 of the discriminators.
        cycle_weight: λ_cyc.

    Example:
        >>> model = CycleGAN(1, width=4, n_blocks=1)
        >>> model(torch.zeros(3, 1, 32, 32)).shape
        torch.Size([3, 1, 32, 32])
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        n_blocks: int = 6,
        n_stages: int = 2,
        cycle_weight: float = 10.0,
    ):
        super().__init__()
        for name, value in (
            ("channels", channels),
            ("width", width),
            ("n_blocks", n_blocks),
            ("n_stages", n_stages),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if cycle_weight < 0:
            raise ValueError(f"cycle_weight must be at least 0, got {cycle_weight}")
        self.config = {
            "channels": channels,
            "width": width,
            "n_blocks": n_blocks,
            "n_stages": n_stages,
            "cycle_weight": cycle_weight,
        }
        self.cycle_weight = cycle_weight
        self.there, self.back = (ResNetGenerator(channels, width, n_blocks) for _ in range(2))
        self.judge_tgt, self.judge_src = (PatchDiscriminator(channels, width, n_stages) for _ in range(2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Source images translated into the target."""
        return self.there(x)

    def generator_loss(
        self, x: Float[Tensor, "n c h w"], y: Float[Tensor, "m c h w"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n c h w"], Float[Tensor, "m c h w"]]:
        """Loss of both generators, and the translations x → tgt, y → src (detached) for the discriminators."""
        fake_y, fake_x = self.there(x), self.back(y)
        scores = self.judge_tgt(fake_y), self.judge_src(fake_x)
        fooled = sum(F.mse_loss(score, torch.ones_like(score)) for score in scores)
        cycle = F.l1_loss(self.back(fake_y), x) + F.l1_loss(self.there(fake_x), y)
        return fooled + self.cycle_weight * cycle, fake_y.detach(), fake_x.detach()

    def discriminator_loss(
        self,
        x: Float[Tensor, "n c h w"],
        y: Float[Tensor, "m c h w"],
        fake_x: Float[Tensor, "k c h w"],
        fake_y: Float[Tensor, "k c h w"],
    ) -> Float[Tensor, ""]:
        """Half the least-squares losses of both discriminators."""
        loss = x.new_zeros(())
        for judge, real, fake in ((self.judge_src, x, fake_x), (self.judge_tgt, y, fake_y)):
            right, wrong = judge(real), judge(fake)
            loss = (
                loss + F.mse_loss(right, torch.ones_like(right)) + F.mse_loss(wrong, torch.zeros_like(wrong))
            )
        return loss / 2


@dataclass
class _Pool:
    """Earlier translations: half of what comes out is up to `size` images old, so that discriminators do not chase."""

    size: int
    generator: torch.Generator
    images: Tensor | None = None

    def exchange(self, fresh: Tensor) -> Tensor:
        if self.images is None or len(self.images) < self.size:
            self.images = (
                fresh.clone() if self.images is None else torch.cat([self.images, fresh])[: self.size]
            )
            return fresh
        swap = torch.rand(len(fresh), generator=self.generator) < 0.5
        places = torch.randperm(len(self.images), generator=self.generator)[: len(fresh)]
        chosen = torch.where(swap.to(fresh.device)[:, None, None, None], self.images[places], fresh)
        self.images[places[swap]] = fresh[swap.to(fresh.device)]
        return chosen


class Losses(NamedTuple):
    """Of every step."""

    generator: list[float]
    discriminator: list[float]


def train_cyclegan(
    model: CycleGAN,
    images_src: Float[Tensor, "n c h w"],
    images_tgt: Float[Tensor, "m c h w"],
    *,
    steps: int,
    batch_size: int = 16,
    lr: float = 2e-4,
    pool: int = 64,
    seed: int = 0,
) -> Losses:
    """Train in place, on the device of the model; the rate falls to 0 over the second half of the steps.

    Args:
        model: as made; its initialisation comes from torch's global generator.
        images_src, images_tgt: values in [0, 1], unpaired, no labels.
        steps: of the optimisers, at least 1.
        batch_size: images of each domain a step.
        lr: 2e-4 in §4.
        pool: translations that the discriminators may see again, at least `batch_size`.
        seed: of the batches and the pool.

    Raises:
        ValueError: for images outside [0, 1] or of different shapes, or numbers below these limits.
        FloatingPointError: if a loss is not finite; it names the step.
    """
    for name, images in (("images_src", images_src), ("images_tgt", images_tgt)):
        require_images(images, name)
    if images_src.shape[1:] != images_tgt.shape[1:]:
        raise ValueError(
            f"images_src and images_tgt must have one shape, got {tuple(images_src.shape[1:])} and "
            f"{tuple(images_tgt.shape[1:])}"
        )
    for name, value, least in (
        ("steps", steps, 1),
        ("batch_size", batch_size, 1),
        ("pool", pool, batch_size),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    pools = _Pool(pool, generator), _Pool(pool, generator)
    makers = [*model.there.parameters(), *model.back.parameters()]
    judges = [*model.judge_src.parameters(), *model.judge_tgt.parameters()]
    optimizers = [torch.optim.Adam(part, lr=lr, betas=(0.5, 0.999)) for part in (makers, judges)]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda i: min(1.0, 2 * (1 - i / steps))) for o in optimizers
    ]
    history = Losses([], [])
    model.train()
    for step in range(steps):
        x, y = (
            images[torch.randint(len(images), (batch_size,), generator=generator)].to(device)
            for images in (images_src, images_tgt)
        )
        for parameter in judges:  # their gradients are not wanted here
            parameter.requires_grad_(False)
        loss, fake_y, fake_x = model.generator_loss(x, y)
        _descend(optimizers[0], loss, "generator", step)
        for parameter in judges:
            parameter.requires_grad_(True)
        wrong = model.discriminator_loss(x, y, pools[0].exchange(fake_x), pools[1].exchange(fake_y))
        _descend(optimizers[1], wrong, "discriminator", step)
        for schedule in schedules:
            schedule.step()
        history.generator.append(float(loss.detach()))
        history.discriminator.append(float(wrong.detach()))
    return history


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, name: str, step: int) -> None:
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss of the {name}s is {loss.item()} at step {step}; lower lr")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
