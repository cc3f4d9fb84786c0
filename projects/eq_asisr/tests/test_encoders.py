"""Sizes of the encoders, and what they refuse."""

import pytest
import torch
from torch import nn

from eq_asisr.encoders import EDSR, RDN, EqEDSR, EqRDN, EqSwinIR, SwinIR

SMALL = {
    EDSR: {"n_feats": 8, "n_blocks": 2},
    EqEDSR: {"n_feats": 8, "n_blocks": 2},
    RDN: {"n_feats": 8, "n_blocks": 2, "n_layers": 2, "growth": 4},
    EqRDN: {"n_feats": 8, "n_blocks": 2, "n_layers": 2, "growth": 4, "kernel_size": 3},
    SwinIR: {"embed_dim": 12, "depths": [2, 1], "n_heads": 2, "window_size": 4, "n_feats": 8},
    EqSwinIR: {"embed_dim": 16, "depths": [2, 1], "n_heads": 2, "window_size": 4, "n_feats": 8},
}


@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [
        (EDSR, 1_220_416),
        (EqEDSR, 846_544),
        (RDN, 21_973_952),
        (SwinIR, 11_603_044),
        (EqSwinIR, 3_506_467 - 223_107),  # the whole model of §4 without its decoder
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_parameter_counts_are_those_of_the_notes(encoder, parameters):
    assert sum(p.numel() for p in encoder().parameters()) == parameters


@pytest.mark.parametrize("encoder", SMALL, ids=lambda e: e.__name__)
def test_features_lie_on_the_grid_of_the_image(encoder):
    model = encoder(**SMALL[encoder])
    features = model(torch.rand(2, 3, 9, 6))
    assert features.shape == (2, model.out_dim, 9, 6)
    assert model.out_dim == 8
    equivariant = encoder.__name__.startswith("Eq")
    assert (model.group is not None) == equivariant
    assert model.t == (4 if equivariant else 1)


@pytest.mark.parametrize("encoder", SMALL, ids=lambda e: e.__name__)
def test_an_encoder_is_built_again_from_its_config(encoder):
    torch.manual_seed(0)
    model = encoder(**SMALL[encoder])
    again = encoder(**model.config)
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(model.eval()(x), again.eval()(x))


def test_every_parameter_gets_a_gradient():
    """Unused parameters (the published network has tables that nothing reads) stop distributed training."""
    for encoder, sizes in SMALL.items():
        always_zero = None
        for _ in range(6):  # the few units of a ReLU may all rest in one draw, not in six
            model = encoder(**sizes).eval()  # no branch is dropped
            model(torch.rand(1, 3, 8, 8)).square().sum().backward()
            assert all(p.grad is not None for p in model.parameters())
            zero = {name for name, p in model.named_parameters() if not p.grad.any()}
            always_zero = zero if always_zero is None else always_zero & zero
        # A constant added to all keys changes no softmax, so the bias of the keys has gradient zero, but it has one.
        assert all(name.endswith("qkv.bias") for name in always_zero), (encoder.__name__, always_zero)


@pytest.mark.parametrize("encoder", [EqEDSR, EqRDN, EqSwinIR], ids=lambda e: e.__name__)
def test_sizes_that_are_no_multiple_of_t_are_named(encoder):
    with pytest.raises(ValueError, match=r"n_feats must be a multiple of t=4, got 10; nearest: 8"):
        encoder(**SMALL[encoder] | {"n_feats": 10})
    for bad, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="t must be"):
            encoder(t=bad)


def test_other_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="growth must be a multiple of t=4, got 6"):
        EqRDN(growth=6)
    with pytest.raises(ValueError, match=r"embed_dim must be a multiple of n_heads=6 times t = 24, got 64"):
        EqSwinIR(embed_dim=64)
    with pytest.raises(ValueError, match=r"embed_dim must be a multiple of n_heads=6, got 64"):
        SwinIR(embed_dim=64)
    with pytest.raises(ValueError, match=r"int\(embed_dim \* mlp_ratio\) must be a multiple of t=4, got 57"):
        EqSwinIR(embed_dim=48, mlp_ratio=1.2)
    with pytest.raises(ValueError, match="n_blocks must be at least 1, got 0"):
        EDSR(n_blocks=0)
    with pytest.raises(ValueError, match=r"depths\[1\] must be at least 1, got 0"):
        SwinIR(depths=(2, 0))
    with pytest.raises(ValueError, match="depths must name at least one"):
        SwinIR(depths=())
    with pytest.raises(ValueError, match="window_size must be even"):
        EqSwinIR(window_size=7)
    with pytest.raises(ValueError, match=r"drop_path must lie in \[0, 1\), got "):
        SwinIR(drop_path=1.5)
    with pytest.raises(
        ValueError, match="padding must be one of symmetric, bottom_right, none, got 'reflect'"
    ):
        SwinIR(padding="reflect")
    with pytest.raises(ValueError, match="position_bias must be one of none, averaged, got 'free'"):
        EqSwinIR(position_bias="free")
    with pytest.raises(ValueError, match="equal_gain belongs to basis='bicubic', got basis='fourier'"):
        EqEDSR(basis="fourier", equal_gain=True)


@pytest.mark.parametrize("encoder", SMALL, ids=lambda e: e.__name__)
def test_even_kernels_are_refused(encoder):
    with pytest.raises(ValueError, match=r"kernel_size must be odd, got 4.*take 3 or 5"):
        encoder(**SMALL[encoder] | {"kernel_size": 4})
    if encoder.__name__.startswith("Eq"):
        with pytest.raises(ValueError, match="kernel_size must be at least 3 for filters that turn"):
            encoder(**SMALL[encoder] | {"kernel_size": 1})


@pytest.mark.parametrize("encoder", [EqEDSR, SwinIR], ids=lambda e: e.__name__)
def test_images_of_another_kind_are_refused(encoder):
    model = encoder(**SMALL[encoder])
    with pytest.raises(ValueError, match=rf"x has 1 channels, {encoder.__name__} takes 3"):
        model(torch.rand(1, 1, 8, 8))
    with pytest.raises(TypeError, match=r"x must be floating point, got torch\.uint8"):
        model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"x must have shape \(b, channels, h, w\), got \(3, 8, 8\)"):
        model(torch.rand(3, 8, 8))


@pytest.mark.parametrize("encoder", [SwinIR, EqSwinIR], ids=lambda e: e.__name__)
def test_swinir_without_padding_refuses_sides_that_windows_do_not_fill(encoder):
    model = encoder(**SMALL[encoder] | {"padding": "none"}).eval()
    with pytest.raises(ValueError, match="the image's width 10 is not a multiple of window_size=4"):
        model(torch.rand(1, 3, 8, 10))
    assert model(torch.rand(1, 3, 8, 12)).shape == (1, 8, 8, 12)


def test_plain_edsr_is_the_network_of_the_paper_in_plain_torch():
    """An independent few lines: head, blocks with skips, closing convolution, one skip over all."""
    torch.manual_seed(0)
    model = EDSR(n_feats=4, n_blocks=2, res_scale=0.5)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    x = torch.rand(1, 3, 5, 6)
    head = h = convs[0](x)
    for first, second in (convs[1:3], convs[3:5]):
        h = h + 0.5 * second(torch.relu(first(h)))
    torch.testing.assert_close(model(x), head + convs[5](h))


@pytest.mark.parametrize("model", [EqEDSR(t=8, n_feats=8, n_blocks=1), EqSwinIR(**SMALL[EqSwinIR])])
def test_float64_is_as_if_built_in_float64(model):
    """Filters are sampled anew in the new dtype; single and double precision agree to single precision."""
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    single = model.eval()(x.float())
    double = model.double()(x)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)
