"""Equivariance of the layers: exact for quarter turns at isotropic frames, O(h²) for the conjugated group, and no more."""

import itertools
import math

import pytest
import torch
from torch import nn

from sa_conv import SAGroupConv2d, SALiftingConv2d, SAProjectionConv2d
from tenfold.groupconv import fourier_functions
from tenfold.groups import CyclicGroup

KINDS = {
    "lifting": (SALiftingConv2d, 3, 2),
    "group": (SAGroupConv2d, 2, 3),
    "projection": (SAProjectionConv2d, 2, 3),
}

kinds = pytest.mark.parametrize("kind", KINDS)
bases = pytest.mark.parametrize("basis", ["bicubic", "fourier"])


def layer_of(kind: str, kernel_size: int = 5, N: int = 8, **options) -> nn.Module:
    torch.manual_seed(0)
    family, a, b = KINDS[kind]
    return family(a, b, kernel_size, N, **options).double()


def input_of(kind: str, N: int = 8, batch: int = 2, size: tuple[int, int] = (9, 9)) -> torch.Tensor:
    channels = KINDS[kind][1] * (1 if kind == "lifting" else N)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)


def quarter_turn_error(layer: nn.Module, kind: str, N: int, *w: torch.Tensor) -> float:
    group, x = CyclicGroup(N), input_of(kind, N)
    turn_in = group.act if kind == "lifting" else group.act_field
    turn_out = group.act if kind == "projection" else group.act_field
    with torch.no_grad():
        y = layer(x, *w)
        moved = layer(turn_in(N // 4, x), *w)
    return float((moved - turn_out(N // 4, y)).abs().max() / y.abs().max())


@kinds
@bases
@pytest.mark.parametrize("N", [4, 8, 12])
def test_quarter_turns_are_exact_for_isotropic_frames_and_fail_visibly_otherwise(kind, basis, N):
    layer = layer_of(kind, N=N, basis=basis, geometry="adaptive")
    for isotropic in ([0.0, 0.0, 0.0], [0.7, 0.0, 0.0], [0.4, 0.25, 0.25]):
        w = torch.tensor(isotropic).double().expand(2, 3)
        assert quarter_turn_error(layer, kind, N, w) < 1e-10
    stretched = torch.tensor([0.3, 0.3, -0.2]).double().expand(2, 3)
    assert quarter_turn_error(layer, kind, N, stretched) > 1e-2
    single = layer.float()
    w = torch.tensor([0.4, 0.25, 0.25]).expand(2, 3)
    x = input_of(kind, N).float()
    group = CyclicGroup(N)
    turned = (group.act if kind == "lifting" else group.act_field)(N // 4, x)
    back = (group.act if kind == "projection" else group.act_field)(N // 4, single(x, w))
    torch.testing.assert_close(single(turned, w), back, rtol=1e-5, atol=1e-5)


class SmoothMaps:
    """Functions on the plane, one per image, channel and orientation: sums of Gaussian blobs."""

    def __init__(self, *shape: int):
        generator = torch.Generator().manual_seed(3)
        self.amplitude = torch.randn(*shape, 4, dtype=torch.float64, generator=generator)
        self.centre = torch.rand(*shape, 4, 2, dtype=torch.float64, generator=generator) * 2 - 1
        self.width = 0.5 + 0.5 * torch.rand(*shape, 4, dtype=torch.float64, generator=generator)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        distance = (points[..., None, :] - self.centre[..., None, None, :, :]).square().sum(-1)
        width = self.width[..., None, None, :]
        return (self.amplitude[..., None, None, :] * torch.exp(-distance / (2 * width**2))).sum(-1)


def refined_layer(kind: str, kernel_size: int) -> nn.Module:
    """The same continuous filters at every kernel size: Fourier basis, q = 5, small at the rim of the kernel."""
    layer = layer_of(kind, kernel_size, basis="fourier", frequencies=5, geometry="adaptive", bias=False)
    layer.padding = 0
    group = CyclicGroup(8)
    functions = fourier_functions(group, kernel_size, 5)[:, :, 0].flatten(0, 1)
    axis = torch.linspace(-1, 1, kernel_size, dtype=torch.float64) * 0.8 * math.pi
    a, b = axis[None, :], axis[:, None]
    bump_a, bump_b = (1 + a.cos()) / 2, (1 + b.cos()) / 2
    mask = layer.bent.disk(torch.eye(2).double())
    atoms = torch.stack([bump_a**2 * bump_b**2, bump_a * a.sin() * bump_b**2, bump_a**2 * bump_b * b.sin()])
    target = (atoms * mask).flatten(1)  # 3 pp
    coefficients = torch.linalg.lstsq(functions @ layer.bank.whitening, target.T).solution  # K 3
    generator = torch.Generator().manual_seed(4)
    mix = torch.randn(*layer.weight.shape[:3], 3, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(mix @ coefficients.T)
    return layer


def conjugated_error(kind: str, kernel_size: int, w: torch.Tensor, element: int, conjugate: bool) -> float:
    """Error at the centre pixel when the input is transformed by T = D A D⁻¹ (or, as a control, by A)."""
    layer, group, radius = refined_layer(kind, kernel_size), CyclicGroup(8), (kernel_size - 1) // 2
    frame = layer.frame(w).detach()
    turn = group.inverse_matrix(element)  # A⁻¹
    transform = torch.linalg.inv(frame) @ turn @ frame if conjugate else turn  # T⁻¹
    axis = torch.arange(-radius, radius + 1, dtype=torch.float64) / radius
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (X, Y)
    fields = KINDS[kind][1]
    maps = SmoothMaps(8, fields, 1 if kind == "lifting" else 8)
    still, moved = maps(points), maps(points @ transform.T)
    if kind != "lifting":
        moved = moved[:, :, group.regular_permutation(element)]
    with torch.no_grad():
        y, y_moved = (layer(x.flatten(1, 2), w) / radius**2 for x in (still, moved))
    if kind != "projection":
        y = group.act_regular(element, y, dim=1)
    return float((y_moved - y).square().mean().sqrt() / y.square().mean().sqrt())


@kinds
@pytest.mark.parametrize("w", [(0.0, 0.4, 0.4), (0.3, 0.6, 0.3)], ids=["rotation", "ellipse"])
def test_error_under_the_conjugated_group_falls_with_the_square_of_the_mesh(kind, w):
    """Section 3.3: T = D A D⁻¹ is the symmetry; a rotation is one only where Cx = Cy."""
    geometry = torch.tensor(w, dtype=torch.float64)
    errors = [conjugated_error(kind, p, geometry, 1, conjugate=True) for p in (5, 9, 17)]
    assert all(coarse / fine >= 3.5 for coarse, fine in itertools.pairwise(errors)), errors
    if w[1] != w[2]:
        control = [conjugated_error(kind, p, geometry, 1, conjugate=False) for p in (9, 17)]
        assert control[1] > 20 * errors[2]
        assert control[1] > 0.8 * control[0]  # does not go away with the mesh
