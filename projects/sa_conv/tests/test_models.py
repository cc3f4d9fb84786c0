"""The networks: parameter counts of the paper's table, their shapes, symmetry with an equivariant tail, bad input."""

import math

import pytest
import torch
from torch import nn

from sa_conv import ImageHyperNet, build_model
from sa_conv.models import EDSR, RCAN, RDN, VARIANTS, RCDNet, RestorationNetwork
from sa_conv.models.rcdnet import rain_kernels
from tenfold.groups import CyclicGroup

SMALL = {
    "edsr": {"fields": 2, "n_blocks": 1},
    "rdn": {"fields": 2, "n_blocks": 2, "n_convs": 2, "growth": 2},
    "rcan": {"fields": 2, "n_groups": 1, "n_blocks": 1},
    "rcdnet": {"n_stages": 2, "n_maps": 4, "n_dual": 4, "fields": 1, "n_blocks": 1},
}
names = pytest.mark.parametrize("name", ["edsr", "rdn", "rcan"])


def images(
    batch: int = 2, size: tuple[int, int] = (26, 26), dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return 255 * torch.rand(batch, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(0))


def open_heads(model: nn.Module, std: float = 0.1) -> nn.Module:
    """Hypernetworks that answer something: random heads, fed with features of size one."""
    for module in model.modules():
        if hasattr(module, "zero_head"):
            nn.init.normal_(module.mlp[-1].weight, std=std)
            nn.init.normal_(module.mlp[-1].bias, std=std)
            with torch.no_grad():
                module.mlp[0].weight.mul_(1e-4)
    return model


# --- behaviour --------------------------------------------------------------------------------------------------------


@names
@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "e2cnn"])
@pytest.mark.parametrize("scale", [1, 2])
def test_all_variants_restore_and_train(name, variant, scale):
    model = build_model(name, variant, scale=scale, **SMALL[name])
    y = model(images(size=(26, 27)))
    assert y.shape == (2, 3, 26 * scale, 27 * scale)
    y.mean().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert unused == []


@pytest.mark.parametrize("variant", ["cnn", "p4", "fconv", "bconv", "tlconv", "saconv"])
def test_rcdnet_restores_and_trains(variant):
    model = build_model("rcdnet", variant, **SMALL["rcdnet"])
    x = images(size=(20, 17))
    out = model.stages(x)
    assert (len(out.backgrounds), len(out.rains)) == (3, 2)
    assert all(t.shape == x.shape for t in (out.background, out.initial, *out.backgrounds, *out.rains))
    assert torch.equal(out.background, out.backgrounds[-1])
    (out.background.mean() + sum(r.mean() for r in out.rains)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert model(x).shape == x.shape


@pytest.mark.parametrize("name", ["edsr", "rdn", "rcan", "rcdnet"])
@pytest.mark.filterwarnings(
    "ignore:indexing with dtype torch.uint8:UserWarning",
    "ignore:invalid escape sequence",
    'ignore:"\\\\\\\\." is an invalid escape sequence',
)
def test_steerable_variant(name, tmp_path):
    pytest.importorskip("e2cnn")
    model = build_model(name, "e2cnn", **SMALL[name]).eval()
    x = images(1)
    before = model(x)
    before.mean().backward()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.5)
        assert not torch.equal(model(x), before)  # e2cnn's own cache of eval mode would be stale
    assert not any("filter" in key for key in model.state_dict())


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:invalid escape sequence", 'ignore:"\\\\\\\\." is an invalid escape sequence'
)
def test_steerable_layers_are_equivariant_in_our_layout():
    pytest.importorskip("e2cnn")
    from sa_conv.models.convolutions import Steerable

    conv, group = Steerable(5, 8), CyclicGroup(8)
    image, fields = torch.randn(1, 2, 9, 9), torch.randn(1, 16, 9, 9)
    lift, middle, project = conv.lift(2, 3), conv.group(2, 3), conv.project(2, 3)
    with torch.no_grad():
        for got, expected in (
            (lift(group.act(2, image)), group.act_field(2, lift(image))),
            (middle(group.act_field(2, fields)), group.act_field(2, middle(fields))),
            (project(group.act_field(2, fields)), group.act(2, project(fields))),
        ):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@names
@pytest.mark.parametrize(
    ("variant", "N"), [("fconv", 8), ("bconv", 8), ("p4", 4), ("tlconv", 8), ("saconv", 4)]
)
def test_networks_with_equivariant_tails_commute_with_quarter_turns(name, variant, N):
    """K2 (iii): whole networks, at frames with Cx = Cy; a plain tail breaks the symmetry (P1)."""
    group, x = CyclicGroup(4), images(dtype=torch.float64) / 255
    options = {**SMALL[name], "N": N, "scale": 2, "value_range": None}
    errors = {}
    for tail in ("equivariant", "plain"):
        torch.manual_seed(0)
        model = build_model(name, variant, tail=tail, **options).double()
        w = (torch.tensor([0.4, 0.2, 0.2]).double(),) if variant == "saconv" else ()
        with torch.no_grad():
            y, turned = model.restore(x, *w), model.restore(group.act(1, x), *w)
        errors[tail] = float((turned - group.act(1, y)).abs().max() / y.abs().max())
    assert errors["equivariant"] < 1e-10
    assert errors["plain"] > 1e-3


@names
def test_anisotropic_geometry_breaks_quarter_turns(name):
    torch.manual_seed(0)
    model = build_model(name, "saconv", tail="equivariant", scale=1, value_range=None, **SMALL[name]).double()
    x, w = images(dtype=torch.float64) / 255, torch.tensor([0.3, 0.4, -0.2]).double()
    group = CyclicGroup(4)
    with torch.no_grad():
        y = model.restore(x, w)
        error = (model.restore(group.act(1, x), w) - group.act(1, y)).abs().max()
    assert error / y.abs().max() > 1e-3


@names
def test_images_are_restored_with_their_own_geometry(name):
    """A batch is its images one by one, in eval mode; and the hypernetwork matters."""
    torch.manual_seed(0)
    model = open_heads(build_model(name, "saconv", scale=1, **SMALL[name])).eval()
    x = images(3)
    with torch.no_grad():
        (w,) = model.geometry(x)
        assert w.std(0).max() > 1e-4
        together = model(x)
        torch.testing.assert_close(torch.cat([model(i) for i in x.split(1)]), together, rtol=1e-4, atol=1e-3)
        model.hyper.zero_head()
        assert (model(x) - together).abs().max() > 1e-3


def test_tied_geometry_is_the_same_frame_in_every_layer():
    torch.manual_seed(0)
    tied = EDSR("tlconv", 1, **SMALL["edsr"], tie_geometry=True).double()
    untied = EDSR("tlconv", 1, **SMALL["edsr"]).double()
    state = {k: v for k, v in tied.state_dict().items() if k != "frame.base"}
    untied.load_state_dict(state, strict=False)
    base = torch.tensor([0.2, 1.3, 0.8], dtype=torch.float64)
    with torch.no_grad():
        for name, p in (*tied.named_parameters(), *untied.named_parameters()):
            if name.endswith("frame.base"):
                p.copy_(base)
    x = images(dtype=torch.float64)
    torch.testing.assert_close(tied(x), untied(x))


def test_tied_network_adds_w_to_its_frame():
    torch.manual_seed(0)
    model = open_heads(EDSR("saconv", 1, **SMALL["edsr"], tie_geometry=True, hyper_scale=0.5)).eval()
    with torch.no_grad():
        model.frame.base.copy_(torch.tensor([0.2, 1.3, 0.8]))
        x = images()
        torch.testing.assert_close(
            model.geometry(x)[0], torch.tensor([0.2, 0.3, -0.2]) + 0.5 * model.hyper(x)
        )


def test_mean_is_subtracted_and_added():
    model = EDSR("bconv", 1, **SMALL["edsr"])
    assert model.mean.flatten().tolist() == pytest.approx([255 * m for m in (0.4488, 0.4371, 0.4040)])
    model.restore = torch.zeros_like
    torch.testing.assert_close(model(images()), model.mean.expand(2, 3, 26, 26))
    assert RDN("bconv", 1, **SMALL["rdn"]).mean.abs().max() == 0
    assert EDSR("bconv", 1, **SMALL["edsr"], value_range=None).mean.abs().max() == 0
    gray = EDSR("bconv", 1, **SMALL["edsr"], in_channels=1).mean
    assert gray.item() == pytest.approx(255 * (0.2989 * 0.4488 + 0.5870 * 0.4371 + 0.1140 * 0.4040), rel=1e-5)


def test_larger_scales():
    for scale in (3, 4):
        assert EDSR("bconv", scale, **SMALL["edsr"])(images(1, (8, 9))).shape == (1, 3, 8 * scale, 9 * scale)


@pytest.mark.parametrize("name", ["edsr", "rdn", "rcan", "rcdnet"])
def test_saved_and_loaded(name, tmp_path):
    torch.manual_seed(0)
    model = open_heads(build_model(name, "saconv", **SMALL[name])).eval()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(images(1)), model(images(1)))


def test_freezing_leaves_the_hypernetwork():
    model = EDSR("saconv", **SMALL["edsr"])
    model.freeze_backbone()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 33_523
    with pytest.raises(ValueError, match="no hypernetwork"):
        EDSR("tlconv", **SMALL["edsr"]).freeze_backbone()


def test_bfloat16_autocast_keeps_w_exact():
    model = open_heads(EDSR("saconv", 1, **SMALL["edsr"])).eval()
    x = images()
    with torch.no_grad():
        exact = model.geometry(x)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model.geometry(x)[0], exact)
            assert torch.isfinite(model(x)).all()


def test_rain_kernels_are_distinct_streaks():
    kernels = rain_kernels()
    assert kernels.shape == (3, 32, 9, 9)
    torch.testing.assert_close(kernels.sum((-2, -1)), torch.ones(3, 32))
    assert torch.equal(kernels[0], kernels[2])
    assert (kernels[0, 1:] - kernels[0, :-1]).abs().amax((-2, -1)).min() > 1e-5
    spread_y = (kernels[0].sum(-1) * torch.arange(-4.0, 5) ** 2).sum(-1)
    spread_x = (kernels[0].sum(-2) * torch.arange(-4.0, 5) ** 2).sum(-1)
    assert (spread_y > spread_x).all()


def test_rcdnet_first_stage_by_hand():
    """One stage of the algorithm written out from its definition."""
    torch.manual_seed(0)
    net = RCDNet("fconv", **{**SMALL["rcdnet"], "n_stages": 1}).double().eval()
    x, conv = images(1, dtype=torch.float64), nn.functional.conv2d
    with torch.no_grad():
        refined = net.first_net(torch.cat([x, conv(x, net.dual, padding=1)], 1))
        b, z = refined[:, :3], refined[:, 3:]
        maps = net.map_nets[0](
            nn.functional.conv_transpose2d((x - b - 1).clamp(min=0), net.first_kernels / 10, padding=4)
        )
        rain = conv(maps, net.kernels / 10, padding=4)
        refined = net.background_nets[0](torch.cat([b - 0.5 * (b - (x - rain)), z], 1))
        out = net.stages(x)
        torch.testing.assert_close(out.rains[0], rain)
        torch.testing.assert_close(out.backgrounds[0], refined[:, :3])
        torch.testing.assert_close(out.background, net.last_net(refined)[:, :3])


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: build_model("swinir"), ValueError, "name must be one of edsr"),
        (lambda: build_model("edsr", "gconv"), ValueError, "variant must be one of cnn"),
        (lambda: EDSR("resnet"), ValueError, "variant must be one of cnn"),
        (lambda: EDSR("bconv", 5), ValueError, "scale"),
        (lambda: EDSR("bconv", fields=0), ValueError, "fields"),
        (lambda: RDN("bconv", growth=0), ValueError, "growth"),
        (lambda: RCAN("bconv", n_groups=0), ValueError, "n_groups"),
        (lambda: RCDNet("fconv", n_stages=0), ValueError, "n_stages"),
        (lambda: RCDNet("fconv", tail="plain"), TypeError, "unknown argument 'tail'"),
        (lambda: EDSR("bconv", colour=3), TypeError, "unknown argument 'colour'"),
        (lambda: EDSR("bconv", in_channels=4), ValueError, "in_channels"),
        (lambda: EDSR("bconv", tail="flat"), ValueError, "tail"),
        (lambda: EDSR("cnn", tail="equivariant"), ValueError, "tail='equivariant' needs fields"),
        (lambda: EDSR("bconv", tie_geometry=True), ValueError, "tie_geometry"),
        (lambda: EDSR("saconv", fields=1, n_blocks=1, kernel_size=4), ValueError, "kernel_size"),
        (lambda: EDSR("e2cnn", fields=1, n_blocks=1, kernel_size=4), ValueError, "kernel_size"),
    ],
)
def test_bad_networks(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_bad_images():
    model = EDSR("saconv", 1, **SMALL["edsr"])
    with pytest.raises(ValueError, match=r"\(b, 3, h, w\)"):
        model(torch.zeros(1, 1, 32, 32))
    with pytest.raises(ValueError, match="25×25"):
        model(images(size=(24, 40)))
    with pytest.raises(ValueError, match="17×17"):
        RCDNet("saconv", **SMALL["rcdnet"])(images(size=(16, 40)))
    with pytest.raises(ValueError, match=r"\(b, 3, h, w\)"):
        RCDNet("saconv", **SMALL["rcdnet"])(torch.zeros(1, 1, 32, 32))


def test_nan_in_w_names_the_image():
    x = images()
    x[1, 0, 3, 3] = math.nan
    for model in (EDSR("saconv", 1, **SMALL["edsr"]), RCDNet("saconv", **SMALL["rcdnet"])):
        with pytest.raises(ValueError, match="image 1 in the batch is not finite"):
            open_heads(model).eval()(x)


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError):
        RestorationNetwork("bconv", 1, {}, shift_mean=True, default_basis="bicubic")(images())


def test_range_mismatch_is_reported():
    with pytest.warns(UserWarning, match="0..255"):
        EDSR("saconv", 1, **SMALL["edsr"])(images() / 255)
    assert isinstance(EDSR("saconv", 1, **SMALL["edsr"]).hyper, ImageHyperNet)
