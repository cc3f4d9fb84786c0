"""Closed-form check (ii): the discretised layer is equivariant to its conjugated group up to O(h²) (sections 3.3, 3.6).

A continuous filter φ (5×5 bicubic nodes times the mask) is sampled at mesh h in the frame D⁻¹ and at the orientations A.
In the continuum, filtering a transformed image r∘T⁻¹ with T = D A D⁻¹ at orientation A is transforming the image filtered
at orientation 0,

    ∫ φ(A⁻¹D⁻¹δ) r(T⁻¹(Tx − δ)) dδ = ∫ φ(D⁻¹δ) r(x − δ) dδ.

The image is a sum of Gaussian blobs, known at every point, so nothing is interpolated: what is left is quadrature.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.imaging import keys_cubic

_REACH = 2.3  # the mask is below 1e-9 beyond


def refinement_errors(
    angle: float,
    *,
    theta0: float = 0.0,
    cx: float = 1.0,
    cy: float = 1.0,
    spacings: Sequence[float] = (0.25, 0.125, 0.0625, 0.03125),
    n_draws: int = 32,
    seed: int = 0,
) -> tuple[float, ...]:
    """Root-mean-square equivariance error, one per mesh size; falls at least fourfold per halving.

    Each draw has its own filter, image, point and offset of the mesh. A single mesh is no use for measuring a rate:
    how it happens to meet the kink of the mask at ρ = 1 makes the factor of one halving jump between 2 and 10.

    Args:
        angle: rotation A in radians.
        theta0: with cx, cy the frame D⁻¹ = diag(cx, cy) R(theta0); the identity tests plain rotations.
        spacings: mesh sizes h.
        n_draws: how many draws to average.

    Example:
        >>> coarse, fine = refinement_errors(math.pi / 4, theta0=0.3, cx=1.25, cy=0.8, spacings=(0.25, 0.125))
        >>> coarse / fine > 3.9
        True
    """
    if abs(cx * cy) < 1e-6:
        raise ValueError(f"cx and cy must not be zero, the frame would be singular; got cx={cx}, cy={cy}")
    if any(h <= 0 for h in spacings):
        raise ValueError(f"spacings must be positive, got {tuple(spacings)}")
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    generator = torch.Generator().manual_seed(seed)
    draws = [_Draw(generator) for _ in range(n_draws)]
    frame = torch.diag(torch.tensor([cx, cy], dtype=torch.float64)) @ _rotation(theta0)
    turn = _rotation(angle)  # A⁻¹
    transform_inverse = torch.linalg.inv(frame) @ turn @ frame  # T⁻¹ = D A⁻¹ D⁻¹

    errors = []
    for h in spacings:
        mesh = _mesh(h, frame)
        squares = []
        for draw in draws:
            offsets = mesh + draw.offset * h
            plain = draw.filter(offsets @ frame.T) @ draw.image(draw.point - offsets)
            # At Tx the image r∘T⁻¹ reads r(T⁻¹(Tx − δ)) = r(x − T⁻¹δ).
            moved = draw.filter(offsets @ (turn @ frame).T) @ draw.image(
                draw.point - offsets @ transform_inverse.T
            )
            squares.append(float(moved - plain) ** 2 * h**4)
        errors.append(math.sqrt(sum(squares) / n_draws))
    return tuple(errors)


class _Draw:
    """A random filter, an image of Gaussian blobs, a point to look at and an offset of the mesh."""

    def __init__(self, generator: torch.Generator):
        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, dtype=torch.float64, generator=generator)

        self.nodes = torch.randn(5, 5, dtype=torch.float64, generator=generator)
        self.amplitude, self.centre, self.width = (
            uniform(8) * 2 - 1,
            uniform(8, 2) * 4 - 2,
            uniform(8) * 0.5 + 0.5,
        )
        self.point, self.offset = uniform(2) * 2 - 1, uniform(2) - 0.5

    def filter(self, position: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """φ at positions in its own frame: 5×5 bicubic nodes on [−1, 1]², masked outside the unit disk (s = 0.2)."""
        index = torch.arange(-2, 3, dtype=torch.float64)
        u, v = (keys_cubic(2 * position[:, i, None] - index) for i in (0, 1))
        mask = torch.exp(-(position.square().sum(1) - 1).clamp(min=0) / 0.2)
        return ((u @ self.nodes) * v).sum(1) * mask

    def image(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """r(x) = Σ a exp(−|x−c|²/(2s²))."""
        distance = torch.cdist(x, self.centre).square()
        return torch.exp(-distance / (2 * self.width.square())) @ self.amplitude


def _mesh(h: float, frame: Float[Tensor, "2 2"]) -> Float[Tensor, "n 2"]:
    """Mesh points that the filter reaches at some orientation and offset."""
    steps = math.ceil(_REACH / float(torch.linalg.svdvals(frame).min()) / h) + 1
    axis = torch.arange(-steps, steps + 1, dtype=torch.float64) * h
    mesh = torch.cartesian_prod(axis, axis)
    return mesh[(mesh @ frame.T).norm(dim=1) <= _REACH + 2 * h * float(torch.linalg.svdvals(frame).max())]


def _rotation(angle: float) -> Float[Tensor, "2 2"]:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
