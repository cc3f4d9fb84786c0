"""Frames and bent filter functions: against the shared bases, and what each mask follows."""

import math

import pytest
import torch

from sa_conv.geometry import BentBank, Frame
from tenfold.groupconv import bank_from_basis, bicubic_basis, disk_mask, fourier_functions, fourier_whitening
from tenfold.groups import CyclicGroup


def some_w(batch: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return 0.3 * torch.randn(batch, 3, dtype=dtype, generator=generator)


def test_exponential_frame_is_the_raw_one_at_the_exponentials():
    raw, exp = Frame().double(), Frame("exp").double()
    w = some_w(4)
    stretched = torch.cat([w[:, :1], w[:, 1:].exp() - 1], 1)
    torch.testing.assert_close(exp(w), raw(stretched))
    exp.load_state_dict({"base": torch.ones(3)})
    exp.reset_parameters()
    torch.testing.assert_close(exp(), torch.eye(2).double())


@pytest.mark.parametrize("basis", ["bicubic", "fourier"])
@pytest.mark.parametrize("N", [1, 3, 4, 8])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_bent_functions_are_those_of_the_shared_bases(basis, N, kernel_size):
    """Against `tenfold.groupconv.basis`, which evaluates the same formulas another way; images one by one and in batches."""
    group, inverse = CyclicGroup(N), Frame()(some_w(3, torch.float32)).detach().double()
    bank = BentBank(group, kernel_size, basis).double()
    if basis == "bicubic":
        whitening, expected = None, bicubic_basis(group, kernel_size, inverse)
    else:
        whitening = fourier_whitening(group, kernel_size)
        expected = fourier_functions(group, kernel_size, kernel_size, inverse) @ whitening
    torch.testing.assert_close(bank(inverse, whitening), bank_from_basis(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bank(inverse[1], whitening), bank(inverse, whitening)[1])
    torch.testing.assert_close(bank.disk(inverse), disk_mask(group, kernel_size, inverse))


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_differ_in_what_they_follow():
    group, w = CyclicGroup(8), some_w(1)[0].requires_grad_()
    frame = Frame().double()
    static, transformed, detached = (
        BentBank(group, 5, mask=m).double().disk(frame(w)) for m in ("static", "transformed", "detached")
    )
    assert torch.equal(transformed, detached)
    assert transformed.requires_grad
    assert not detached.requires_grad
    assert (static - transformed).abs().max() > 1e-3
    assert static[0, 0] == pytest.approx(0.006738, abs=1e-6)
    assert static[0, 1] == pytest.approx(0.286505, abs=1e-6)
    # the mask is read at the coordinates of the basis: ρ = |D⁻¹δ| (P3)
    x, y = torch.tensor([-1.0, 0.5]).double()
    u, v = frame(w).detach() @ torch.stack([x, y])
    assert transformed[3, 0].item() == pytest.approx(math.exp(-max(float(u**2 + v**2) - 1, 0) / 0.2))
    assert torch.equal(BentBank(group, 5, mask="none").double().disk(frame(w)), torch.ones(5, 5).double())


@pytest.mark.parametrize("N", [1, 2, 4])
def test_no_mask_where_rotations_are_exact(N):
    frame = Frame().double()(some_w(2))
    for mask in ("static", "transformed", "detached"):
        assert BentBank(CyclicGroup(N), 5, mask=mask).double().disk(frame).eq(1).all()
