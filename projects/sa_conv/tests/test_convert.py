"""Warm starts are free of loss (K6): the richer network computes what the simpler one did; what does not fit is refused."""

import pytest
import torch
from torch import nn

from sa_conv import bconv_to_tl, build_model, tl_to_sa, warm_start
from sa_conv.hyper import FeatureHyperNet

SMALL = {
    "edsr": {"fields": 2, "n_blocks": 1, "scale": 1},
    "rdn": {"fields": 2, "n_blocks": 2, "n_convs": 2, "growth": 2, "scale": 1},
    "rcan": {"fields": 2, "n_groups": 1, "n_blocks": 1, "scale": 1},
    "rcdnet": {"n_stages": 2, "n_maps": 4, "n_dual": 4, "fields": 1, "n_blocks": 1},
}
networks = pytest.mark.parametrize("name", ["edsr", "rdn", "rcan"])
X = 255 * torch.rand(2, 3, 28, 26, generator=torch.Generator().manual_seed(0))


def trained(name: str, variant: str, **options) -> nn.Module:
    """A network whose weights and frames are not those it starts with."""
    torch.manual_seed(1)
    model = build_model(name, variant, **(SMALL[name] | options)).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            p.add_(0.1 * torch.randn_like(p) if key.endswith("frame.base") else 0.01 * torch.randn_like(p))
    return model


def relative_difference(a: nn.Module, b: nn.Module) -> float:
    with torch.no_grad():
        y = a(X)
        return float((b(X) - y).abs().max() / y.abs().max())


@networks
@pytest.mark.parametrize("basis", ["bicubic", "fourier"])
@pytest.mark.parametrize("parametrization", ["raw", "exp"])
def test_tl_computes_what_the_static_network_did(name, basis, parametrization):
    static = trained(name, {"bicubic": "bconv", "fourier": "fconv"}[basis])
    tl = build_model(name, "tlconv", **SMALL[name], basis=basis, parametrization=parametrization).eval()
    assert relative_difference(static, tl) > 1e-3
    tl.load_state_dict(bconv_to_tl(static.state_dict(), parametrization))
    assert relative_difference(static, tl) < 1e-5
    other = build_model(name, "tlconv", **SMALL[name], basis=basis, parametrization=parametrization).eval()
    other.load_state_dict(warm_start(static.state_dict(), other))
    assert relative_difference(static, other) < 1e-5


@networks
def test_sa_computes_what_the_tl_network_did(name):
    tl = trained(name, "tlconv")
    sa = build_model(name, "saconv", **SMALL[name]).eval()
    nn.init.ones_(sa.hyper.mlp[-1].bias)
    sa.load_state_dict(tl_to_sa(tl.state_dict()))
    assert relative_difference(tl, sa) < 1e-5
    other = build_model(name, "saconv", **SMALL[name]).eval()
    nn.init.constant_(other.hyper.mlp[-1].bias, 0.3)
    assert relative_difference(tl, other) > 1e-3
    other.load_state_dict(warm_start(tl.state_dict(), other))
    assert relative_difference(tl, other) < 1e-5
    for p in other.hyper.parameters():
        assert p.requires_grad


def test_static_to_sa_in_one_step_and_deraining():
    static = trained("rcdnet", "fconv")
    sa = build_model("rcdnet", "saconv", **SMALL["rcdnet"]).eval()
    sa.load_state_dict(warm_start(static.state_dict(), sa))
    assert relative_difference(static, sa) < 1e-5
    bicubic = trained("edsr", "bconv")
    sa = build_model("edsr", "saconv", **SMALL["edsr"]).eval()
    sa.load_state_dict(warm_start(bicubic.state_dict(), sa))
    assert relative_difference(bicubic, sa) < 1e-5


@pytest.mark.parametrize("variant", ["tlconv", "saconv"])
def test_tied_networks_start_from_static_ones(variant):
    static = trained("edsr", "bconv")
    tied = build_model("edsr", variant, **SMALL["edsr"], tie_geometry=True).eval()
    tied.load_state_dict(warm_start(static.state_dict(), tied))
    assert relative_difference(static, tied) < 1e-5


def test_weights_of_the_same_network_pass_unchanged():
    sa = trained("edsr", "saconv")
    state = warm_start(sa.state_dict(), build_model("edsr", "saconv", **SMALL["edsr"]))
    assert state.keys() == sa.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in sa.state_dict().items())


def test_the_model_to_start_is_not_changed():
    sa = build_model("edsr", "saconv", **SMALL["edsr"])
    nn.init.ones_(sa.hyper.mlp[-1].bias)
    before = {k: v.clone() for k, v in sa.state_dict().items()}
    warm_start(trained("edsr", "tlconv").state_dict(), sa)
    assert all(torch.equal(before[k], v) for k, v in sa.state_dict().items())


def test_plain_convolutions_get_no_frame():
    state = bconv_to_tl(trained("edsr", "bconv").state_dict())
    frames = [k for k in state if k.endswith("frame.base")]
    assert frames == ["head.frame.base", "body.0.conv1.frame.base", "body.0.conv2.frame.base"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"N": 4}, r"'head.bias'|'body.0.conv1.weight' has shape .* N, kernel_size and fields"),
        ({"kernel_size": 3}, r"'head.weight' has shape .* N, kernel_size and fields"),
        ({"fields": 3}, r"'head.weight' has shape .* N, kernel_size and fields"),
        ({"n_blocks": 2}, "lacks 'body.1.conv1.weight'"),
        ({"basis": "fourier"}, "lacks 'head.bank.whitening', the matrix U"),
        ({"tie_geometry": True}, "has 'body.0.conv1.frame.base'"),
    ],
)
def test_networks_that_do_not_match(options, match):
    target = build_model("edsr", "saconv", **(SMALL["edsr"] | options))
    with pytest.raises(ValueError, match=match):
        warm_start(trained("edsr", "tlconv").state_dict(), target)


def test_lost_whitening_matrix():
    state = trained("edsr", "fconv").state_dict()
    del state["body.0.conv1.bank.whitening"]
    with pytest.raises(ValueError, match=r"lacks 'body.0.conv1.bank.whitening', the matrix U"):
        warm_start(state, build_model("edsr", "tlconv", **SMALL["edsr"], basis="fourier"))


def test_fourier_weights_do_not_fit_a_bicubic_network():
    with pytest.raises(ValueError, match="whitening"):
        warm_start(trained("edsr", "fconv").state_dict(), build_model("edsr", "tlconv", **SMALL["edsr"]))


def test_state_dicts_of_the_wrong_kind():
    tl, sa = trained("edsr", "tlconv").state_dict(), trained("edsr", "saconv").state_dict()
    with pytest.raises(ValueError, match="already has frames"):
        bconv_to_tl(tl)
    with pytest.raises(ValueError, match="no layer of B- or F-Conv"):
        bconv_to_tl(nn.Conv2d(3, 3, 5).state_dict())
    with pytest.raises(ValueError, match="has no frames"):
        tl_to_sa(trained("edsr", "bconv").state_dict())
    with pytest.raises(ValueError, match="already has a hypernetwork"):
        tl_to_sa(sa)
    with pytest.raises(TypeError, match="hyper"):
        tl_to_sa(tl, nn.Linear(2, 2))
    with pytest.raises(ValueError, match="N = 9"):
        bconv_to_tl({"conv.weight": torch.zeros(2, 2, 9, 9)})
    assert "hyper.mlp.0.weight" in tl_to_sa(tl, FeatureHyperNet(3))
