"""Orbits of the group that a trained SA network uses on each image, for the pictures of the claims.

A layer is equivariant to D C_N D⁻¹ with D⁻¹ = diag(Cx, Cy) R(θ0), θ0, Cx, Cy its own numbers plus the w of the image.
Shown is the layer in the middle of the network; every layer has a frame of its own (P18).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sa_conv.claims.networks import answers, frames
from sa_conv.claims.photographs import PhotographTask
from sa_conv.claims.textures import TextureTask
from sa_conv.figures import Orbit, elliptical_orbits
from tenfold.claims import Figure
from tenfold.restoration import ImagePair


@torch.no_grad()
def learned_maps(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 2 2"]:
    """D for every image, in the middle layer of an SA network."""
    layers = frames(model)
    w = answers(model, images)
    return torch.linalg.inv(layers[len(layers) // 2].cpu()(w).double())


def texture_orbits(name: str, model: nn.Module, task: TextureTask, n: int = 8) -> Figure:
    """Clean test textures, sorted by their true axis, with the orbits learned from the noisy ones."""
    order = task.test.angles.argsort()
    chosen = order[torch.linspace(0, len(order) - 1, n).round().long()]
    maps = learned_maps(model, task.noisy[chosen])
    orbits = [
        Orbit(f"axis {float(task.test.angles[i]) * 180 / torch.pi:.0f}°", task.clean[i] * 0.2 + 0.5, d)
        for i, d in zip(chosen.tolist(), maps)
    ]
    return elliptical_orbits(
        name,
        orbits,
        "The group the network uses, image by image",
        f"{n} textures with ellipses drawn over them: orbits of the conjugated rotation group that the hypernetwork chose "
        "for each image.",
    )


def photograph_orbits(
    name: str, model: nn.Module, task: PhotographTask, n: int = 8, side: int = 120
) -> Figure:
    """Test photographs with the orbits learned from their degraded versions."""
    orbits = []
    pool = [(images, i) for images in task.tests.values() for i in range(len(images))]
    for images, i in pool[:: max(1, len(pool) // n)][:n]:
        degraded, clean = images[i]
        (d,) = learned_maps(model, degraded[None])
        height, width = clean.shape[1:]
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        item = images.items[i]
        label = item.name if isinstance(item, ImagePair) else ""
        orbits.append(
            Orbit(
                label,
                clean[:, top : top + side, left : left + side] / 255,
                d,
            )
        )
    return elliptical_orbits(
        name,
        orbits,
        "The group the network uses on photographs",
        f"{len(orbits)} photographs with the orbits of the conjugated rotation group that the hypernetwork chose for each.",
    )
