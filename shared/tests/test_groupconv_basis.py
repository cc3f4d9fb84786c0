"""The filter bases against the formulas of sa_conv §3.1, written out naively."""

import math

import pytest
import torch

from tenfold.groupconv import (
    FilterBank,
    GroupConv2d,
    bicubic_basis,
    disk_mask,
    fourier_functions,
    fourier_whitening,
    lattice_basis,
)
from tenfold.groups import CyclicGroup, DihedralGroup


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def naive_mask(x: float, y: float, n: int, p: int) -> float:
    if n in (1, 2, 4):
        return 1.0
    return math.exp(-max(x * x + y * y - 1, 0) / (0.2 if p > 4 else 2))


@pytest.mark.parametrize(("n", "p"), [(8, 5), (4, 5), (6, 3)])
def test_bicubic_basis_by_the_formula(n, p):
    basis, r = bicubic_basis(CyclicGroup(n), p), (p - 1) // 2
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        i, j, o, k, m = (int(torch.randint(high, (), generator=generator)) for high in (p, p, n, p, p))
        x, y, angle = (j - r) / r, (i - r) / r, 2 * math.pi * o / n
        u, v = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
        expected = keys(r * u - (k - r)) * keys(r * v - (m - r)) * naive_mask(x, y, n, p)
        assert basis[i, j, o, k * p + m].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("q", [5, 4, 3])
def test_fourier_functions_by_the_formula(q):
    n, p, r = 8, 5, 2
    functions = fourier_functions(CyclicGroup(n), p, q)
    assert functions.shape == (p, p, n, 2 * q * q)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        i, j, o, k, m = (int(torch.randint(high, (), generator=generator)) for high in (p, p, n, q, q))
        x, y, angle = (j - r) / r, (i - r) / r, 2 * math.pi * o / n
        u, v = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
        kk, mm = (f - q if f > q / 2 else f for f in (k, m))
        phase = math.pi * (q - 1) / q * (kk * u + mm * v)
        mask = naive_mask(x, y, n, p)
        assert functions[i, j, o, k * q + m].item() == pytest.approx(mask * math.cos(phase), abs=1e-12)
        assert functions[i, j, o, q * q + k * q + m].item() == pytest.approx(
            mask * math.sin(phase), abs=1e-12
        )


def test_unrotated_bicubic_filter_is_free():
    """Without the mask B[..., 0, :] is the permutation that reads weight j·p + i."""
    basis = bicubic_basis(CyclicGroup(8), 5, mask=torch.ones(5, 5, dtype=torch.float64))[:, :, 0]
    expected = torch.eye(25, dtype=torch.float64).view(5, 5, 5, 5).transpose(0, 1).reshape(5, 5, 25)
    torch.testing.assert_close(basis, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "group", [CyclicGroup(8), CyclicGroup(4), DihedralGroup(4), DihedralGroup(8)], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("basis", ["bicubic", "fourier"])
def test_filters_are_turned_exactly(group, dtype, basis):
    """The filter at t is act(t, filter at e), bitwise, for every t that maps pixels to pixels."""
    bank = FilterBank(group, 5, basis).to(dtype)
    kernels = torch.einsum("ktij,k->tij", bank(), torch.randn(bank.size, dtype=dtype))
    for t in group.lattice_elements:
        torch.testing.assert_close(
            kernels[t], group.act(t, kernels[0]), rtol=0, atol=20 * torch.finfo(dtype).eps
        )
        assert torch.equal(bank.functions[:, t], group.act(t, bank.functions[:, 0]))
    assert not torch.allclose(kernels[1], kernels[0])


def test_mask_values_of_the_page():
    mask = disk_mask(CyclicGroup(8), 5)
    assert mask[0, 0].item() == pytest.approx(0.006738, abs=1e-6)
    assert mask[0, 1].item() == pytest.approx(0.286505, abs=1e-6)
    assert mask[0, 2] == mask[2, 2] == 1
    assert disk_mask(CyclicGroup(8), 3)[0, 0].item() == pytest.approx(math.exp(-0.5))
    for group in (CyclicGroup(4), DihedralGroup(2)):
        assert (disk_mask(group, 5) == 1).all()


@pytest.mark.parametrize("p", [3, 5, 7, 9])
@pytest.mark.parametrize("n", [4, 8])
def test_fourier_rank_is_q_squared(p, n):
    group = CyclicGroup(n)
    whitening = fourier_whitening(group, p)
    assert whitening.shape == (2 * p * p, p * p)
    basis = (fourier_functions(group, p, p) @ whitening).flatten(0, 2)
    torch.testing.assert_close(basis.T @ basis, torch.eye(p * p, dtype=torch.float64), rtol=0, atol=1e-8)


def test_fourier_spectrum_of_the_page():
    functions = fourier_functions(CyclicGroup(8), 5, 5).flatten(0, 2)
    eigenvalues = torch.linalg.eigvalsh(functions.T @ functions)
    assert eigenvalues[25].item() == pytest.approx(0.4235, abs=1e-4)
    assert abs(eigenvalues[24].item()) < 1e-12


def test_order_reduction_and_smooth_weighting():
    assert FilterBank(CyclicGroup(12), 7, "fourier", frequencies=5).size == 25
    assert FilterBank(CyclicGroup(12), 5, "fourier", frequencies=3).size == 9
    # even q: the frequency q/2 has no partner −q/2, so more than q² functions are independent
    assert FilterBank(CyclicGroup(12), 5, "fourier", frequencies=4).size == 23
    plain, smooth = (fourier_whitening(CyclicGroup(12), 5, 4, smooth=flag) for flag in (False, True))
    ratio = smooth / plain
    factors = ratio.nanmedian(0).values
    torch.testing.assert_close(plain * factors, smooth)
    assert factors.max() <= 1 + 1e-9
    assert factors.min() < 0.5 * factors.max()


@pytest.mark.parametrize("group", [CyclicGroup(4), DihedralGroup(4), DihedralGroup(1)], ids=str)
def test_lattice_basis_spans_what_the_bicubic_spans(group):
    lattice, bicubic = lattice_basis(group, 3), bicubic_basis(group, 3)
    transposed = bicubic.unflatten(-1, (3, 3)).transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(lattice, transposed, rtol=0, atol=1e-15)


def test_geometry_identity_and_batches():
    group = CyclicGroup(8)
    eye = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(bicubic_basis(group, 5, eye), bicubic_basis(group, 5))
    maps = torch.stack([eye, 0.8 * eye, torch.tensor([[1.2, 0.3], [0.0, 0.9]], dtype=torch.float64)])
    batch = bicubic_basis(group, 5, maps)
    assert batch.shape == (3, 5, 5, 8, 25)
    for single, matrix in zip(batch, maps):
        torch.testing.assert_close(single, bicubic_basis(group, 5, matrix))
    functions = fourier_functions(group, 5, 5, maps)
    torch.testing.assert_close(functions[2], fourier_functions(group, 5, 5, maps[2]))


def test_geometry_is_differentiable():
    geometry = torch.tensor([[1.1, 0.2], [0.1, 0.9]], dtype=torch.float64, requires_grad=True)
    group = CyclicGroup(8)
    assert torch.autograd.gradcheck(lambda g: bicubic_basis(group, 3, g), (geometry,))
    assert torch.autograd.gradcheck(lambda g: fourier_functions(group, 3, 3, g), (geometry,))


@pytest.mark.parametrize("p", [2, 4, 1, 0])
@pytest.mark.parametrize("function", [bicubic_basis, fourier_whitening])
def test_even_and_tiny_kernels_are_refused(function, p):
    with pytest.raises(ValueError, match=f"kernel_size must be odd and at least 3.*got {p}"):
        function(CyclicGroup(8), p)


def test_other_bad_arguments_are_refused():
    group = CyclicGroup(8)
    with pytest.raises(ValueError, match="between 1 and kernel_size=5, got 6"):
        fourier_whitening(group, 5, 6)
    with pytest.raises(ValueError, match=r"shape \(…, 2, 2\), got \(3,\)"):
        bicubic_basis(group, 5, torch.ones(3))
    with pytest.raises(ValueError, match=r"pixels to pixels .*got C8"):
        lattice_basis(group, 3)
    with pytest.raises(ValueError, match="bicubic, fourier, lattice, got 'steerable'"):
        FilterBank(group, 5, "steerable")
    with pytest.raises(ValueError, match="belong to basis='fourier'"):
        FilterBank(group, 5, frequencies=3)


def test_precision_follows_the_dtype():
    """`.double()` evaluates the basis anew: no rounding of the float32 basis stays behind."""
    layer = GroupConv2d(1, 1, 5, CyclicGroup(8)).double()
    expected = bicubic_basis(CyclicGroup(8), 5).permute(3, 2, 0, 1)
    assert torch.equal(layer.bank(), expected)
    assert torch.equal(layer.half().double().bank(), expected)


def test_meta_device_is_filled_by_to_empty():
    with torch.device("meta"):
        layer = GroupConv2d(1, 1, 5, CyclicGroup(8))
    layer = layer.to_empty(device="cpu")
    torch.testing.assert_close(layer.bank(), FilterBank(CyclicGroup(8), 5)())


def test_fourier_weights_travel_with_their_whitening():
    """Another machine may find other eigenvectors: loading restores the function of the layer."""
    source, target = (GroupConv2d(1, 2, 5, CyclicGroup(8), basis="fourier") for _ in range(2))
    with torch.no_grad():
        target.bank.whitening.copy_(target.bank.whitening @ torch.linalg.qr(torch.randn(25, 25)).Q)
    x = torch.randn(1, 8, 9, 9)
    target.load_state_dict(source.state_dict())
    torch.testing.assert_close(target(x), source(x))
    state = source.state_dict()
    del state["bank.whitening"]
    with pytest.raises(RuntimeError, match=r"bank\.whitening"):
        target.load_state_dict(state)


def test_remembered_whitening_is_handed_out_as_copies() -> None:
    first = fourier_whitening(CyclicGroup(4), 3)
    expected = first.clone()
    first.zero_()
    assert torch.equal(fourier_whitening(CyclicGroup(4), 3), expected)


def test_whitening_has_its_shape_on_the_meta_device() -> None:
    with torch.device("meta"):
        whitening = fourier_whitening(CyclicGroup(8), 5)
    assert whitening.is_meta
    assert whitening.shape == (50, 25)
