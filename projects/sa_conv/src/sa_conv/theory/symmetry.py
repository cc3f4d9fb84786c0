"""How symmetric is a data set? ε as the paper defines it, and a companion that needs no prior (section 3.6, P7).

A set {r_n} is ε-symmetric with respect to groups {G_n} if for every choice A_n ∈ G_n

    | (1/N) Σ_n (R[π_{A_n} r_n] − R[r_n]) | ≤ ε.

It is an average of a prior energy R over the set, not a property of single images. The worst choice is found exactly:
each image takes the element that raises its energy most, or the one that lowers it most.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sa_conv.theory.energies import PriorEnergy, checked_energies, named_energy
from tenfold.groups import Group
from tenfold.imaging import Interpolation, resample


@dataclass(frozen=True)
class SymmetryError:
    """ε of a data set.

    Args:
        eps: the smallest ε for free choices A_n ∈ G_n, image by image.
        eps_common: the same when all images must take the same element; never more than `eps`.
        energy: mean prior energy of the set, the scale to judge ε by.
        shifts: R[π_A r_n] − R[r_n] for each image and element.
    """

    eps: float
    eps_common: float
    energy: float
    shifts: Float[Tensor, "n order"]


def symmetry_error(
    images: Float[Tensor, "n c h w"],
    group: Group,
    prior_energy: str | PriorEnergy = "tikhonov",
    *,
    frames: Float[Tensor, "n 2 2"] | None = None,
    interpolation: Interpolation | None = None,
    margin: int = 0,
) -> SymmetryError:
    """The dataset symmetry error ε.

    Args:
        images: the data set; any range.
        group: rotations (and reflections) A.
        prior_energy: "tikhonov", "total_variation", or a function from images to one energy each.
        frames: D_n per image, for the conjugated groups G_n = {D_n A D_n⁻¹}; None for the group itself. This is what a
            sample-adaptive network may use. Needs an interpolation.
        interpolation: how to read between pixels, for elements that do not map pixels to pixels.
        margin: rim of pixels left out of the energies; needed with interpolation, which brings in zeros from outside.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> ramps = torch.arange(8.0).expand(3, 1, 8, 8)
        >>> symmetry_error(ramps, CyclicGroup(4)).eps  # the isotropic energy does not see the direction
        0.0
        >>> from sa_conv.theory import tikhonov_energy
        >>> symmetry_error(ramps, CyclicGroup(4), tikhonov_energy(2.0, 1.0)).eps
        1.0
    """
    _check_images(images)
    if frames is not None and frames.shape != (len(images), 2, 2):
        raise ValueError(
            f"frames must have shape ({len(images)}, 2, 2), one per image, got {tuple(frames.shape)}"
        )
    if frames is not None and interpolation is None:
        raise ValueError(
            "frames need an interpolation ('bicubic' or 'fourier'): they do not map pixels to pixels"
        )
    if margin < 0 or 2 * margin >= min(images.shape[-2:]) - 1:
        raise ValueError(f"margin must leave at least 2 pixels of {tuple(images.shape[-2:])}, got {margin}")
    energy = named_energy(prior_energy)

    def measured(batch: Tensor) -> Tensor:
        inner = batch[..., margin : batch.shape[-2] - margin, margin : batch.shape[-1] - margin]
        return checked_energies(energy, inner)

    base = measured(images)
    shifts = torch.stack(
        [measured(_act(group, t, images, frames, interpolation)) - base for t in group.elements], 1
    )
    free = max(float(shifts.amax(1).mean()), float(-shifts.amin(1).mean()))
    return SymmetryError(free, float(shifts.mean(0).abs().max()), float(base.mean()), shifts)


@dataclass(frozen=True)
class PatchDistance:
    """How far the patches of transformed images lie from those of the images; 0 for a symmetric data set.

    Args:
        covariance: ‖Cov(π r) − Cov(r)‖_F / ‖Cov(r)‖_F, the largest over the group.
        energy: the energy distance 2E|X−Y| − E|X−X'| − E|Y−Y'| in units of E|X−X'|, the largest over the group; sampling noise
            keeps it slightly off 0.
    """

    covariance: float
    energy: float


def patch_distance(
    images: Float[Tensor, "n c h w"],
    group: Group,
    *,
    patch_size: int = 5,
    n_patches: int = 512,
    interpolation: Interpolation | None = None,
    seed: int = 0,
) -> PatchDistance:
    """Distances between the patch clouds of r and π_A r: dataset symmetry without choosing a prior.

    Covariances use every patch, the energy distance uses `n_patches` drawn at random from each side.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> noise = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> stretched = noise[..., ::4].repeat_interleave(4, -1)
        >>> patch_distance(noise, CyclicGroup(4)).covariance < 0.2 < patch_distance(stretched, CyclicGroup(4)).covariance
        True
    """
    _check_images(images)
    if patch_size < 1 or patch_size > min(images.shape[-2:]):
        raise ValueError(f"patch_size must be in 1..{min(images.shape[-2:])}, got {patch_size}")
    if n_patches < 2:
        raise ValueError(f"n_patches must be at least 2, got {n_patches}")
    generator = torch.Generator().manual_seed(seed)
    cloud = _patches(images, patch_size)
    covariance = torch.cov(cloud.T)
    sample = _draw(cloud, n_patches, generator)
    spread = torch.pdist(sample).mean()
    distances = []
    for t in group.elements:
        if t == 0:
            continue
        turned = _patches(group.act(t, images, interpolation), patch_size)
        other = _draw(turned, n_patches, generator)
        shift = torch.linalg.matrix_norm(torch.cov(turned.T) - covariance)
        energy = 2 * torch.cdist(sample, other).mean() - spread - torch.pdist(other).mean()
        distances.append((float(shift / torch.linalg.matrix_norm(covariance)), float(energy / spread)))
    covariances, energies = zip(*distances) if distances else ((0.0,), (0.0,))
    return PatchDistance(max(covariances), max(energies))


def _act(
    group: Group, t: int, images: Tensor, frames: Tensor | None, interpolation: Interpolation | None
) -> Tensor:
    """π_T of each image, T = D_n A_t D_n⁻¹."""
    if frames is None:
        return group.act(t, images, interpolation)
    if t == 0:
        return images
    assert interpolation is not None
    frames = frames.double()
    inverses = frames @ group.inverse_matrix(t).to(frames) @ torch.linalg.inv(frames)
    return torch.stack([resample(image, m, interpolation) for image, m in zip(images, inverses)])


def _patches(images: Float[Tensor, "n c h w"], size: int) -> Float[Tensor, "patches d"]:
    windows = images.unfold(-2, size, 1).unfold(-2, size, 1)  # n c y x p q
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)


def _draw(cloud: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return cloud[torch.randperm(len(cloud), generator=generator)[:count].to(cloud.device)]


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have shape (n, c, h, w) with nothing empty, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point, got {images.dtype}")
