"""Products with Jacobians against autograd's own, through attention, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from emergence.attention import ATTENTIONS
from emergence.lipschitz.forward_ad import PRODUCTS, JacobianProducts, differentiable_attention


def curved(x):
    return torch.tanh(x @ torch.arange(6.0, dtype=x.dtype).reshape(3, 2)) ** 2


@pytest.mark.parametrize("products", PRODUCTS)
def test_products_are_those_of_the_jacobian(products):
    x = torch.randn(4, 3, dtype=torch.float64)
    dense = torch.stack([torch.autograd.functional.jacobian(lambda s: curved(s[None])[0], s) for s in x])
    jacobian = JacobianProducts(curved, x, products=products)
    v, u = torch.randn(2, 4, 3, dtype=torch.float64), torch.randn(2, 4, 2, dtype=torch.float64)
    tolerance = 1e-4 if products == "central" else 1e-12
    torch.testing.assert_close(
        jacobian.jvp(v), torch.einsum("bmd,kbd->kbm", dense, v), rtol=tolerance, atol=tolerance
    )
    torch.testing.assert_close(jacobian.vjp(u), torch.einsum("bmd,kbm->kbd", dense, u))
    torch.testing.assert_close(jacobian.vjp(u[:1]), torch.einsum("bmd,kbm->kbd", dense, u[:1]))
    torch.testing.assert_close(jacobian.dense(), dense)
    assert jacobian.n_evals == 2 + 2 + 1 + 2


def test_central_differences_converge_to_the_derivative():
    x = torch.randn(3, 3, dtype=torch.float64)
    v = torch.randn(1, 3, 3, dtype=torch.float64)
    exact = JacobianProducts(curved, x).jvp(v)
    assert (JacobianProducts(curved, x, products="central").jvp(v) - exact).abs().max() < 1e-4
    with pytest.raises(TypeError, match="float64"):
        JacobianProducts(curved, x.float(), products="central")


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_is_differentiated_forwards(kind):
    attention = ATTENTIONS[kind](6, 2).double().eval()
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    jacobian = JacobianProducts(attention, x)
    v = torch.randn(1, 2, 24, dtype=torch.float64)
    torch.testing.assert_close(jacobian.jvp(v)[0], torch.einsum("bmd,bd->bm", jacobian.dense(), v[0]))


def test_without_our_switch_fused_attention_has_no_forward_mode():
    """Control: what `differentiable_attention` is for."""
    q = torch.randn(1, 1, 4, 8)

    def product():
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(q, torch.ones_like(q))
            return F.scaled_dot_product_attention(dual, dual, dual)

    with pytest.raises(NotImplementedError, match="forward AD"):
        product()
    with differentiable_attention():
        product()


def test_switches_are_restored():
    before = torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()
    with differentiable_attention():
        assert not torch.backends.cuda.flash_sdp_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
    assert (torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()) == before


def test_encoder_layer_of_torch():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval().requires_grad_(False)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    jacobian = JacobianProducts(layer, x)
    v = torch.randn(1, 2, 24, dtype=torch.float64)
    torch.testing.assert_close(jacobian.jvp(v)[0], torch.einsum("bmd,bd->bm", jacobian.dense(), v[0]))


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad


def test_modules_without_forward_mode_are_named_and_have_a_way_out():
    x = torch.tensor([[1.0, 3.0]])
    v = torch.ones(1, 1, 2)
    with pytest.raises(ValueError, match="double_backward"):
        JacobianProducts(NoForwardMode.apply, x, isolate=False).jvp(v)
    way_out = JacobianProducts(NoForwardMode.apply, x, isolate=False, products="double_backward")
    torch.testing.assert_close(way_out.jvp(v), torch.tensor([[[2.0, 6.0]]]))


def test_samples_do_not_mix():
    """A map that adds the mean of the batch: each sample alone is doubled."""
    x = torch.randn(4, 3, dtype=torch.float64)

    def mixing(z):
        return z + z.mean(0, keepdim=True)

    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(JacobianProducts(mixing, x).dense(), (2 * eye).expand(4, 3, 3))
    first = torch.zeros(1, 4, 3, dtype=torch.float64)
    first[0, 0] = 1
    assert not JacobianProducts(mixing, x).vjp(first)[0, 1:].any()
    assert JacobianProducts(mixing, x, isolate=False).vjp(first)[0, 1:].all()  # control: trusted, they mix


def test_constant_maps():
    x = torch.randn(2, 3)
    jacobian = JacobianProducts(lambda z: torch.ones_like(z[:, :2]), x)
    assert not jacobian.jvp(torch.ones(1, 2, 3)).any()
    assert not jacobian.vjp(torch.ones(1, 2, 2)).any()


@pytest.mark.parametrize(
    ("fn", "x", "error", "message"),
    [
        (torch.tanh, torch.full((2, 3), torch.nan), ValueError, "first at index"),
        (torch.tanh, torch.ones(3), ValueError, "unsqueeze"),
        (torch.tanh, torch.ones(2, 3).half(), TypeError, "double"),
        (torch.tanh, torch.ones(2, 3).bfloat16(), TypeError, "double"),
        (torch.tanh, [1.0], TypeError, "as_tensor"),
        (nn.Linear(3, 3), torch.ones(2, 3, dtype=torch.float64), TypeError, "weight"),
        (nn.Sequential(nn.Dropout(0.5)), torch.ones(2, 3), ValueError, "'0' drops at random"),
        (nn.BatchNorm1d(3), torch.ones(2, 3), ValueError, "mixes the samples"),
        (lambda x: F.dropout(x, 0.5), torch.ones(2, 3), ValueError, "random numbers"),
        (lambda x: x / 0, torch.ones(2, 3), ValueError, r"fn\(x\) has 6"),
    ],
)
def test_what_is_refused(fn, x, error, message):
    with pytest.raises(error, match=message):
        JacobianProducts(fn, x)


def test_unknown_products():
    with pytest.raises(ValueError, match="'forward', 'double_backward', 'central'"):
        JacobianProducts(torch.tanh, torch.ones(1, 2), products="reverse")
