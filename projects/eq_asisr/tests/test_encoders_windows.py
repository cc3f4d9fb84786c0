"""Windows, masks and position biases of the Swin encoders."""

import pytest
import torch

from eq_asisr.encoders import EquivariantLayers, PlainLayers
from eq_asisr.encoders.swinir import mirrored
from eq_asisr.encoders.windows import (
    PositionBias,
    StochasticDepth,
    WindowAttention,
    WindowBlock,
    cut_windows,
    join_windows,
    shifted_neighbours,
)


def test_cutting_and_joining_are_inverse_and_windows_are_squares_of_the_map():
    x = torch.randn(2, 6, 9, 5)
    windows = cut_windows(x, 3)
    assert windows.shape == (2 * 2 * 3, 9, 5)
    torch.testing.assert_close(windows[1].view(3, 3, 5), x[0, :3, 3:6])
    assert torch.equal(join_windows(windows, (6, 9)), x)


def test_rolled_pixels_attend_only_to_those_of_their_own_piece():
    """Independent of labels: two pixels of a window may meet if the roll did not bring them together."""
    h, w, side, shift = 8, 12, 4, 2
    allowed = shifted_neighbours((h, w), side, shift, torch.device("cpu"))
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    places = torch.stack([rows, columns], -1).unsqueeze(0)
    rolled = cut_windows(places.roll((-shift, -shift), (1, 2)), side)  # n p 2, original places
    near = (rolled.unsqueeze(1) - rolled.unsqueeze(2)).abs().amax(-1) < side
    assert torch.equal(allowed, near)
    assert not allowed.all()


def test_an_attention_block_agrees_with_attention_written_out():
    torch.manual_seed(0)
    bias = PositionBias(2, 3)
    layer = WindowAttention(PlainLayers(), 6, 3, bias)
    x = torch.randn(2, 4, 6)
    allowed = torch.rand(2, 4, 4) > 0.3
    allowed |= torch.eye(4, dtype=torch.bool)
    q, k, v = (layer.qkv(x)[..., 6 * i : 6 * i + 6].view(2, 4, 3, 2) for i in range(3))
    logits = torch.einsum("nihd,njhd->nhij", q, k) / 2**0.5 + bias()
    weights = logits.masked_fill(~allowed.unsqueeze(1), -1e9).softmax(-1)
    expected = layer.proj(torch.einsum("nhij,njhd->nihd", weights, v).flatten(2))
    torch.testing.assert_close(layer(x, allowed), expected)


def test_a_position_bias_depends_on_the_offset_only():
    bias = PositionBias(3, 2)()
    at = lambda r, c: 3 * r + c  # noqa: E731
    assert torch.equal(bias[:, at(0, 0), at(1, 2)], bias[:, at(1, 0), at(2, 2)])
    assert not torch.equal(bias[:, at(0, 0), at(1, 2)], bias[:, at(1, 2), at(0, 0)])


def test_an_averaged_position_bias_is_the_same_in_turned_windows():
    side = 4
    turned = torch.rot90(torch.arange(side * side).view(side, side)).flatten()
    for averaged in (True, False):
        bias = PositionBias(side, 2, averaged).double()
        same = torch.allclose(bias()[:, turned][:, :, turned], bias(), atol=1e-12)
        assert same == averaged


def test_a_head_holds_whole_fields():
    """Rolling the orientations of all tokens changes no attention weight, so the output rolls along."""
    layers = EquivariantLayers(4)
    layer = WindowAttention(layers, 16, 2, PositionBias(3, 2)).double()
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    rolled = layers.group.act_regular(1, x)
    expected = layers.group.act_regular(1, layer(x, None))
    torch.testing.assert_close(layer(rolled, None), expected, rtol=0, atol=1e-12)


def test_a_plain_block_is_the_swin_block_of_timm():
    """The same weights in timm's block give the same output, shifted and not."""
    pytest.importorskip("timm", reason="timm is not installed")
    from timm.models.swin_transformer import SwinTransformerBlock

    torch.manual_seed(0)
    for shift in (0, 2):
        theirs = SwinTransformerBlock(
            12, (8, 12), num_heads=3, window_size=4, shift_size=shift, mlp_ratio=2.0
        ).eval()
        attention = WindowAttention(PlainLayers(), 12, 3, PositionBias(4, 3))
        ours = WindowBlock(
            PlainLayers(), 12, attention, window_size=4, shift=shift, hidden=24, drop_path=0.0
        ).eval()
        state = theirs.state_dict()
        attention.qkv.load_state_dict({k: state[f"attn.qkv.{k}"] for k in ("weight", "bias")})
        attention.proj.load_state_dict({k: state[f"attn.proj.{k}"] for k in ("weight", "bias")})
        attention.bias.table.data = state["attn.relative_position_bias_table"].T.reshape(3, 7, 7).clone()
        for i in (1, 2):
            getattr(ours, f"norm{i}").load_state_dict({k: state[f"norm{i}.{k}"] for k in ("weight", "bias")})
            ours.mlp[2 * i - 2].load_state_dict({k: state[f"mlp.fc{i}.{k}"] for k in ("weight", "bias")})
        x = torch.randn(2, 8, 12, 12)
        allowed = shifted_neighbours((8, 12), 4, 2, x.device)
        torch.testing.assert_close(ours(x, allowed), theirs(x), rtol=1e-4, atol=1e-5)


def test_stochastic_depth_keeps_the_mean_and_drops_whole_images():
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    y = layer(torch.ones(4000, 2, 3)).flatten(1)
    assert torch.equal(y, y[:, :1].expand(-1, 6))
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(torch.ones(3, 2)), torch.ones(3, 2))


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (1, 2), (5, 7), (8, 3)])
def test_mirroring_repeats_the_image_forwards_and_backwards(before, behind):
    x = torch.arange(3.0).view(1, 1, 1, 3)
    period = [0, 1, 2, 2, 1, 0] * 6
    expected = period[12 - before : 15 + behind]
    assert mirrored(x, (0, 0), (before, behind)).flatten().tolist() == expected
