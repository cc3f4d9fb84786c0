"""C1 for the encoders alone: turning the image turns the features and rolls the orientations, whatever the parameters are."""

import pytest
import torch
from torch import nn

from eq_asisr.encoders import EDSR, RDN, EqEDSR, EqRDN, EqSwinIR, SwinIR
from eq_asisr.encoders.families import EqualGainBank
from eq_asisr.equivariance import perturb
from tenfold.equivariance import equivariance_error
from tenfold.groupconv import FilterBank, GroupLinear
from tenfold.groups import CyclicGroup

SWIN = {"depths": (2,), "n_heads": 2, "window_size": 4}
EQUIVARIANT = {
    "edsr": lambda t: EqEDSR(t, n_feats=2 * t, n_blocks=2),
    "edsr, fourier": lambda t: EqEDSR(t, n_feats=2 * t, n_blocks=1, basis="fourier", kernel_size=3),
    "edsr, equal gain": lambda t: EqEDSR(t, n_feats=t, n_blocks=1, equal_gain=True),
    "rdn": lambda t: EqRDN(t, n_feats=2 * t, n_blocks=2, n_layers=2, growth=t, kernel_size=3),
    "swinir": lambda t: EqSwinIR(t, embed_dim=4 * t, n_feats=2 * t, **SWIN),
    "swinir, averaged bias": lambda t: EqSwinIR(
        t, embed_dim=4 * t, n_feats=t, position_bias="averaged", **SWIN
    ),
}


def image(h=8, w=12, dtype=torch.float64):
    return torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def built(name, t, seed=0):
    torch.manual_seed(seed)
    model = EQUIVARIANT[name](t)
    perturb(model, seed)
    for module in model.modules():
        if isinstance(module, GroupLinear):  # drawn so small that attention would hardly matter
            module.weight.data.normal_(std=0.5 / t**0.5)
    return model


def turn_error(model, x):
    quarter = model.group.order // 4
    elements = [quarter * k for k in (1, 2, 3)]
    return max(equivariance_error(model, x, model.group, "field", elements=elements).relative_l2)


@pytest.mark.parametrize("t", [4, 8, 16])
@pytest.mark.parametrize("name", EQUIVARIANT)
def test_quarter_turns_are_exact_with_any_parameters(name, t):
    model = built(name, t)
    assert turn_error(model.double(), image()) < 1e-12
    assert turn_error(model.float(), image(dtype=torch.float32)) < 5e-6


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_they_stay_exact_in_training(name):
    model = built(name, 4).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    target = torch.randn(2, model.out_dim, 8, 12, dtype=torch.float64)
    for _ in range(5):
        optimizer.zero_grad()
        (model(image()) - target).square().mean().backward()
        optimizer.step()
    assert turn_error(model, image()) < 1e-12


@pytest.mark.parametrize(
    "model",
    [
        EDSR(n_feats=8, n_blocks=2),
        RDN(n_feats=8, n_blocks=1, n_layers=2, growth=4),
        SwinIR(embed_dim=16, n_feats=8, **SWIN),
    ],
    ids=lambda m: type(m).__name__,
)
def test_ordinary_encoders_fail_the_same_harness(model):
    error = equivariance_error(model.double(), image(), CyclicGroup(4))
    assert min(error.relative_l2) > 1e-2


def test_one_scale_per_channel_behind_the_norms_would_break_it():
    """The published network's defect (§3.5): exact at the start, wrong as soon as the scales of a field differ."""
    torch.manual_seed(0)
    model = EqSwinIR(4, embed_dim=16, n_feats=8, **SWIN).double()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == "GroupLayerNorm":
                setattr(module, name, nn.LayerNorm(16).double())
    assert turn_error(model, image()) < 1e-12
    perturb(model, 0)
    assert turn_error(model, image()) > 1e-2


def test_a_free_position_bias_would_break_it():
    model = built("swinir, averaged bias", 4).double()
    for module in model.modules():
        if hasattr(module, "averaged"):
            module.averaged = False
            module.table.data.normal_()
    assert turn_error(model, image()) > 1e-4


@pytest.mark.parametrize(("h", "w"), [(6, 10), (9, 12), (7, 13), (3, 2), (1, 1)], ids=str)
def test_swinir_is_exact_at_sizes_that_windows_do_not_fill(h, w):
    model = built("swinir", 4).double()
    assert turn_error(model, image(h, w)) < 1e-12


def test_padding_at_the_bottom_and_right_is_not_symmetric():
    torch.manual_seed(0)
    model = EqSwinIR(4, embed_dim=16, n_feats=8, padding="bottom_right", **SWIN).double()
    perturb(model, 0)
    assert turn_error(model, image(8, 12)) < 1e-12
    assert turn_error(model, image(6, 10)) > 1e-3


def test_an_even_side_costs_one_run_and_an_odd_one_two(monkeypatch):
    model = built("swinir", 4)
    runs = []
    encode = model._encode_windows
    monkeypatch.setattr(model, "_encode_windows", lambda x: runs.append(x.shape[-2:]) or encode(x))
    for h, w, expected in ((8, 12, 1), (6, 10, 1), (7, 12, 2), (7, 13, 4)):
        runs.clear()
        model(image(h, w, torch.float32))
        assert len(runs) == expected
        assert set(runs) == {(8, 12 if w < 13 else 16)}


def test_equal_gain_makes_the_sums_equal_and_leaves_quarter_turns_alone():
    group = CyclicGroup(8)
    ordinary, equal = (bank(group, 5).double()().sum((-2, -1)) for bank in (FilterBank, EqualGainBank))
    total = ordinary.sum(0)  # a table of ones
    assert total[0].item() == pytest.approx(15.32, abs=0.01)  # §3.6
    assert total[1].item() == pytest.approx(15.72, abs=0.01)
    torch.testing.assert_close(equal, equal[:, :1].expand(-1, 8), rtol=0, atol=1e-12)
    torch.testing.assert_close(equal.sum(0)[0], total.mean(), rtol=0, atol=1e-12)
    four = CyclicGroup(4)
    torch.testing.assert_close(EqualGainBank(four, 5)(), FilterBank(four, 5)(), rtol=0, atol=1e-7)


def test_other_angles_of_the_group_are_nearer_with_more_orientations():
    """Not exact at 45° with sampled filters, but far better with t = 8 than with t = 4; the number is C2's business."""
    from tenfold.equivariance import GaussianBlobs, analytic_equivariance_error

    blobs = GaussianBlobs.random(batch=16, channels=3, seed=0)
    errors = {}
    for t in (4, 8):
        torch.manual_seed(0)
        model = EqEDSR(t, n_feats=16, n_blocks=1).double()
        pooled = lambda x, m=model, t=t: m(x).unflatten(1, (-1, t)).mean(2)  # noqa: E731
        errors[t] = analytic_equivariance_error(pooled, blobs, 33, 45).relative_l2[0]
    assert errors[8] < 0.5 * errors[4]
