"""Filter bases: for every group element t, the functions φ_k(t⁻¹δ) sampled on the p×p pixels δ (sa_conv §3.1).

A basis is a tensor (p, p, |G|, K): pixel row i (Y down), pixel column j (X right), element t, function k. A filter with
coefficients w is Σ_k B[..., t, k] w_k at element t. Coordinates are x_j = (j − r)/r with r = (p − 1)/2, in [−1, 1].

bicubic   samples of a filter on the p×p grid, interpolated by Keys' cubic where t⁻¹δ falls between them; K = p²
fourier   low frequencies, orthonormalised over pixels and elements; K = rank, q² for odd q, q = p unless told
lattice   free p×p kernels (p even or odd), turned by rot90 and flip; only for C1, C2, C4, D1, D2, D4; K = p²

`geometry` is the inverse D⁻¹ of a linear map of the plane, or a batch of them: the functions become φ_k(t⁻¹D⁻¹δ) and
the layer equivariant to the conjugated group {D t D⁻¹} (sa_conv §3.3).
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from tenfold.groups import Group
from tenfold.imaging import keys_cubic

Coordinates = Float[Tensor, "*batch p p order"]


def filter_coordinates(
    group: Group, kernel_size: int, geometry: Float[Tensor, "*batch 2 2"] | None = None
) -> tuple[Coordinates, Coordinates]:
    """Where the filter of each element reads: (u, v) = t⁻¹ D⁻¹ (X, Y), in float64 unless `geometry` says otherwise.

    Returns:
        u (to the right) and v (down), each of shape (*batch, p, p, |G|).
    """
    plane = _pixel_grid(kernel_size, geometry)
    dtype, device = plane[0].dtype, plane[0].device
    matrices = torch.stack([group.inverse_matrix(t) for t in group.elements]).to(device, dtype)  # t 2 2
    x, y = plane[0].unsqueeze(-1), plane[1].unsqueeze(-1)
    u = matrices[:, 0, 0] * x + matrices[:, 0, 1] * y
    v = matrices[:, 1, 0] * x + matrices[:, 1, 1] * y
    return u, v


def disk_mask(
    group: Group, kernel_size: int, geometry: Float[Tensor, "*batch 2 2"] | None = None
) -> Float[Tensor, "*batch p p"]:
    """Soft disk exp(−max(ρ² − 1, 0)/s) with ρ = |D⁻¹δ|, s = 0.2 for p > 4 and 2 for p ≤ 4; ones for N ∈ {1, 2, 4}.

    Corners of the square leave the kernel when it turns by other angles than quarter turns, so they are damped.
    """
    x, y = _pixel_grid(kernel_size, geometry)
    if group.is_lattice_group:
        return torch.ones_like(x)
    softness = 0.2 if kernel_size > 4 else 2.0
    return torch.exp(-(x * x + y * y - 1).clamp(min=0) / softness)


def bicubic_basis(
    group: Group,
    kernel_size: int,
    geometry: Float[Tensor, "*batch 2 2"] | None = None,
    mask: Float[Tensor, "*batch p p"] | None = None,
    nodes: int | None = None,
) -> Float[Tensor, "*batch p p order functions"]:
    """B[i,j,t,(k,l)] = κ(r·u − (k − r)) κ(r·v − (l − r)) m(i,j), function k·p + l with k along the columns.

    Args:
        group: the symmetry group.
        kernel_size: odd, at least 3.
        geometry: D⁻¹; None is the identity, then the result is float64.
        mask: m; None is `disk_mask` at the transformed coordinates.
        nodes: samples of the filter along [−1, 1], r = (nodes − 1)/2; None is kernel_size.

    Raises:
        ValueError: if the kernel size is even or less than 3, or the geometry is not made of 2×2 matrices.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> basis = bicubic_basis(CyclicGroup(4), 3)
        >>> basis.shape
        torch.Size([3, 3, 4, 9])
        >>> basis[0, 2, 0].argmax().item()  # unrotated: row 0, column 2 reads weight j * p + i
        6
    """
    require_odd(kernel_size)
    nodes = kernel_size if nodes is None else nodes
    require_odd(nodes)
    radius = (nodes - 1) / 2
    u, v = filter_coordinates(group, kernel_size, geometry)
    if mask is None:
        mask = disk_mask(group, kernel_size, geometry)
    knots = torch.arange(nodes, dtype=u.dtype, device=u.device) - radius
    along_u = keys_cubic(radius * u.unsqueeze(-1) - knots)  # … i j t k
    along_v = keys_cubic(radius * v.unsqueeze(-1) - knots)  # … i j t l
    products = along_u.unsqueeze(-1) * along_v.unsqueeze(-2) * mask[..., None, None, None]
    return products.flatten(-2)


def fourier_functions(
    group: Group,
    kernel_size: int,
    frequencies: int,
    geometry: Float[Tensor, "*batch 2 2"] | None = None,
    mask: Float[Tensor, "*batch p p"] | None = None,
) -> Float[Tensor, "*batch p p order functions"]:
    """The 2q² functions cos(v(k·u + l·v)) and sin(v(k·u + l·v)) times the mask, v = π(q − 1)/q, k, l symmetric about zero.

    Frequencies up to q − 1 represent the unrotated filter as well, but alias when it turns.
    """
    u, v = filter_coordinates(group, kernel_size, geometry)
    if mask is None:
        mask = disk_mask(group, kernel_size, geometry)
    k = torch.arange(frequencies, dtype=u.dtype, device=u.device)
    k = torch.where(k > frequencies / 2, k - frequencies, k)
    base = math.pi * (frequencies - 1) / frequencies
    phase = (k[:, None] * u[..., None, None] + k * v[..., None, None]) * base  # … i j t k l
    functions = torch.cat([phase.flatten(-2).cos(), phase.flatten(-2).sin()], -1)
    return functions * mask[..., None, None]


def fourier_whitening(
    group: Group, kernel_size: int, frequencies: int | None = None, smooth: bool = False
) -> Float[Tensor, "functions rank"]:
    """U with orthonormal columns of `fourier_functions @ U` over (i, j, t) jointly, in float64.

    GᵀG = UΣUᵀ, eigenvalues above 1e-4 are kept, columns divided by (Σ + 1e-10)^½. Eigenvectors are only fixed up to
    signs and rotations inside equal eigenvalues, so weights travel together with U: layers keep it in the checkpoint.

    Args:
        group: the symmetry group.
        kernel_size: p, odd, at least 3.
        frequencies: q ≤ p per axis; None is p. Fewer give smoother filters with fewer coefficients (q² for odd q).
        smooth: multiply column e by 1/(25·max(var_e, 0.04)), which damps functions whose energy depends on the
            orientation (F-Conv's choice for classification; off in restoration).

    Raises:
        ValueError: if the kernel size is even or less than 3, or q does not lie between 1 and p.

    Example:
        >>> from tenfold.groups import CyclicGroup
        >>> fourier_whitening(CyclicGroup(8), 5).shape
        torch.Size([50, 25])
    """
    require_odd(kernel_size)
    q = kernel_size if frequencies is None else frequencies
    if not 1 <= q <= kernel_size:
        raise ValueError(f"frequencies must lie between 1 and kernel_size={kernel_size}, got {q}")
    with torch.device("cpu"):  # decided from values, which the meta device does not have
        whitening = _whitening(group, kernel_size, q, smooth)
    return whitening.to(torch.get_default_device(), copy=True)


@functools.lru_cache(maxsize=32)
def _whitening(group: Group, kernel_size: int, q: int, smooth: bool) -> Float[Tensor, "functions rank"]:
    """Remembered, because a network has a hundred layers with the same basis."""
    functions = fourier_functions(group, kernel_size, q).flatten(0, 2)
    eigenvalues, vectors = torch.linalg.eigh(functions.T @ functions)
    kept = eigenvalues.flip(0) > 1e-4
    whitening = vectors.flip(1)[:, kept] / (eigenvalues.flip(0)[kept] + 1e-10).sqrt()
    if not smooth:
        return whitening
    basis = (functions @ whitening).unflatten(0, (kernel_size**2, group.order))
    mean_energy = basis.sum(0).square()  # S₁: t e
    energy = kernel_size**2 * basis.square().sum(0)  # S₂: t e
    variation = (mean_energy.std(0, correction=0) + energy.std(0, correction=0)) / (
        mean_energy + energy
    ).mean(0)
    return whitening / (25 * variation.clamp(min=0.04))


def lattice_basis(group: Group, kernel_size: int) -> Float[Tensor, "p p order functions"]:
    """Free kernels moved by rot90 and flip: B[:, :, t, i·p + j] = act(t, unit kernel at row i, column j), in float64.

    Raises:
        ValueError: if some element of the group does not map pixels to pixels, or the kernel size is not positive.

    Example:
        >>> from tenfold.groups import DihedralGroup
        >>> lattice_basis(DihedralGroup(4), 2).shape
        torch.Size([2, 2, 8, 4])
    """
    if kernel_size < 1:
        raise ValueError(f"kernel_size must be at least 1, got {kernel_size}")
    if not group.is_lattice_group:
        raise ValueError(
            f"the lattice basis needs a group that maps pixels to pixels (C1, C2, C4, D1, D2, D4), got {group}; "
            "use basis='bicubic' or 'fourier'"
        )
    units = torch.eye(kernel_size**2, dtype=torch.float64).unflatten(1, (kernel_size, kernel_size))  # k i j
    turned = torch.stack([group.act(t, units) for t in group.elements])  # t k i j
    return turned.permute(2, 3, 0, 1).contiguous()


def require_odd(kernel_size: int) -> None:
    """Raise ValueError unless the kernel has a centre pixel and neighbours."""
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size must be odd and at least 3 for the bicubic and Fourier bases, got {kernel_size}; "
            "basis='lattice' takes any size"
        )


def _pixel_grid(
    kernel_size: int, geometry: Float[Tensor, "*batch 2 2"] | None
) -> tuple[Float[Tensor, "*batch p p"], Float[Tensor, "*batch p p"]]:
    """D⁻¹(X, Y) for all pixels."""
    require_odd(kernel_size)
    radius = (kernel_size - 1) / 2
    axis = (torch.arange(kernel_size, dtype=torch.float64) - radius) / radius
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    if geometry is None:
        return x, y
    if geometry.ndim < 2 or geometry.shape[-2:] != (2, 2):
        raise ValueError(f"geometry must have shape (…, 2, 2), got {tuple(geometry.shape)}")
    x, y = x.to(geometry), y.to(geometry)
    entries = geometry[..., None, None]  # … 2 2 1 1
    return (
        entries[..., 0, 0, :, :] * x + entries[..., 0, 1, :, :] * y,
        entries[..., 1, 0, :, :] * x + entries[..., 1, 1, :, :] * y,
    )
