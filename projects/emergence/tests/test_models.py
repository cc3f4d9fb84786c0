"""The family between GPT-1 and GPT-2 style: sizes, causality, what its settings do."""

import math
from typing import Any

import pytest
import torch

from emergence.models import (
    GPTConfig,
    LoopedGPT,
    TinyGPT,
    TransformerBlock,
    build_model,
    gpt1_style,
    gpt2_style,
)

SMALL: dict[str, Any] = {"vocab": 11, "ctx": 9, "d": 8, "heads": 2, "n_blocks": 3}
STYLES = [
    {},
    {"norm": "post"},
    {"norm": "peri"},
    {"norm": "none"},
    {"norm": "none", "residual_scale": "rezero"},
    {"final_ln": False},
    {"ln_scaling": True},
    {"tied_depth": True},
    {"attn": "l2"},
    {"attn": "cosine"},
]
LOOPS = [{"lam": 0.7, "prelude": 1}, {"lam": None}, {"lam": None, "injection": False}]


def tokens(n: int = 2, length: int = 9) -> torch.Tensor:
    return torch.randint(11, (n, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("style", "n_blocks", "expected"),
    [
        (gpt2_style, 4, 117_840),
        (gpt1_style, 4, 117_744),
        (gpt2_style, 16, 457_104),
        (gpt1_style, 16, 457_008),
    ],
)
def test_parameter_counts_are_those_of_the_notes(style: Any, n_blocks: int, expected: int) -> None:
    config = style(vocab=65, ctx=32, d=48, heads=4, n_blocks=n_blocks)
    assert TinyGPT.from_config(config).n_params == config.n_params == expected


@pytest.mark.parametrize("options", STYLES, ids=str)
def test_the_formula_counts_the_parameters_of_every_style(options: dict[str, Any]) -> None:
    model = TinyGPT(**SMALL, **options)
    assert model.n_params == model.settings.n_params


def test_the_reference_size_of_the_paper_has_about_a_billion_parameters() -> None:
    assert gpt2_style(vocab=50257, ctx=1024, d=1792, heads=14, n_blocks=24).n_params == pytest.approx(
        1.02e9, rel=0.01
    )


@pytest.mark.parametrize("options", STYLES, ids=str)
def test_no_token_sees_later_ones(options: dict[str, Any]) -> None:
    model = TinyGPT(**SMALL, **options, init_std=0.2).double()
    if model.settings.residual_scale == "rezero":
        with torch.no_grad():
            for block in model.blocks:
                block.gates.fill_(0.5)
    x = tokens()
    changed = x.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 11
    ours, theirs = model(x), model(changed)
    torch.testing.assert_close(ours[:, :5], theirs[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(ours[:, 5:], theirs[:, 5:])


@pytest.mark.parametrize("options", STYLES, ids=str)
def test_every_parameter_of_every_style_is_trained(options: dict[str, Any]) -> None:
    model = TinyGPT(**SMALL, **options)
    if model.settings.residual_scale == "rezero":  # branches are switched off at the start
        with torch.no_grad():
            for block in model.blocks:
                block.gates.fill_(0.5)
    model.loss(tokens(), tokens().roll(-1, 1)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_pre_and_post_norm_are_the_formulas() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    pre = TransformerBlock(GPTConfig(**SMALL, norm="pre", init_std=0.3)).double()
    u = x + pre.attn(pre.ln1(x))
    torch.testing.assert_close(pre(x), u + pre.mlp(pre.ln2(u)), rtol=0, atol=1e-12)
    post = TransformerBlock(GPTConfig(**SMALL, norm="post", init_std=0.3)).double()
    u = post.ln1(x + post.attn(x))
    torch.testing.assert_close(post(x), post.ln2(u + post.mlp(u)), rtol=0, atol=1e-12)
    peri = TransformerBlock(GPTConfig(**SMALL, norm="peri", init_std=0.3)).double()
    u = x + peri.ln1_out(peri.attn(peri.ln1(x)))
    torch.testing.assert_close(peri(x), u + peri.ln2_out(peri.mlp(peri.ln2(u))), rtol=0, atol=1e-12)


def test_layer_norm_scaling_divides_by_the_root_of_the_layer() -> None:
    scaled = TransformerBlock(GPTConfig(**SMALL, ln_scaling=True), layer=4)
    assert scaled.ln_factor == pytest.approx(0.5)
    plain = TransformerBlock(GPTConfig(**SMALL))
    plain.load_state_dict(scaled.state_dict())
    x = torch.randn(1, 4, 8)
    with torch.no_grad():
        plain.ln1.weight.mul_(0.5)
        plain.ln2.weight.mul_(0.5)
    torch.testing.assert_close(scaled(x), plain(x))


def test_rezero_starts_as_the_identity() -> None:
    block = TransformerBlock(GPTConfig(**SMALL, norm="none", residual_scale="rezero"))
    x = torch.randn(1, 4, 8)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


@pytest.mark.parametrize(("scale", "factor"), [("1", 1.0), ("1/L", 1 / 3), ("1/sqrt(2L)", 1 / math.sqrt(6))])
def test_residual_scale_shrinks_what_writes_into_the_stream(scale: Any, factor: float) -> None:
    def build(s: Any) -> TinyGPT:
        torch.manual_seed(0)
        return TinyGPT(**SMALL, residual_scale=s)

    full, shrunk = build("1").blocks[1], build(scale).blocks[1]
    torch.testing.assert_close(shrunk.attn.out.weight, factor * full.attn.out.weight)
    torch.testing.assert_close(shrunk.mlp.out.weight, factor * full.mlp.out.weight)
    torch.testing.assert_close(shrunk.mlp.up.weight, full.mlp.up.weight)


def test_a_tied_model_repeats_one_block() -> None:
    model = TinyGPT(**SMALL, tied_depth=True).double()
    h = model.embed(tokens())
    for _ in range(3):
        h = model.blocks[0](h)
    torch.testing.assert_close(model.hidden_states(tokens())[-1], h, rtol=0, atol=1e-12)
    assert len({id(block) for block in model.depth_blocks}) == 1


@pytest.mark.parametrize("readout", ["raw", "rms", "final_ln"])
def test_hidden_states_begin_with_the_embedding_and_end_before_the_read_out(readout: Any) -> None:
    model = TinyGPT(**SMALL).double()
    states = model.hidden_states(tokens(), readout)
    assert states.shape == (4, 2, 9, 8)
    raw = model.hidden_states(tokens())
    torch.testing.assert_close(model.read_out(raw[-1]), model(tokens()), rtol=0, atol=1e-12)
    if readout == "rms":
        torch.testing.assert_close(states.square().mean(-1), torch.ones(4, 2, 9).double())


@pytest.mark.parametrize("options", LOOPS, ids=str)
def test_a_loop_repeats_its_turn(options: dict[str, Any]) -> None:
    sizes = {**SMALL, "n_blocks": 1}
    model = LoopedGPT(**sizes, loops=4, **options).double().eval()
    states = model.states(tokens(), 6)
    assert states.shape == (7, 2, 9, 8)
    torch.testing.assert_close(model.read_out(states[4]), model(tokens()), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.read_out(states[6]), model(tokens(), 6), rtol=0, atol=1e-12)


def test_a_certified_turn_contracts_at_its_rate_or_faster() -> None:
    model = LoopedGPT(**{**SMALL, "n_blocks": 1}, loops=4, lam=0.7, prelude=1).double().eval()
    z, other = torch.randn(2, 5, 9, 8, dtype=torch.float64).unbind(0)
    x = torch.randn(5, 9, 8, dtype=torch.float64)
    before = (z - other).flatten(1).norm(dim=1)
    after = (model.turn(z, x) - model.turn(other, x)).flatten(1).norm(dim=1)
    assert (after <= 0.7 * before * (1 + 1e-9)).all()


@torch.no_grad()
def test_the_number_of_turns_is_random_in_training_only() -> None:
    model = LoopedGPT(**{**SMALL, "n_blocks": 1}, loops=8, init_std=0.3)
    assert len({float(model(tokens()).sum()) for _ in range(20)}) > 3
    model.eval()
    assert len({float(model(tokens()).sum()) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    "config", [GPTConfig(**SMALL), GPTConfig(**{**SMALL, "n_blocks": 1}, loops=2, lam=0.5)]
)
def test_a_saved_model_computes_the_same(config: GPTConfig, tmp_path: Any) -> None:
    model = build_model(config).eval()
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(tokens()), model(tokens()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_blocks": 0}, "n_blocks must be at least 1, got 0"),
        ({"heads": 3}, "heads must divide the width d = 8, got 3"),
        ({"norm": "middle"}, "norm must be one of pre, post, peri, none, got 'middle'"),
        ({"attn": "fast"}, "attn must be one of dot, l2, cosine, got 'fast'"),
        ({"residual_scale": "2"}, "residual_scale must be one of"),
        ({"init_std": -1.0}, "init_std must be positive or None, got -1"),
        ({"ln_scaling": True, "norm": "post"}, "ln_scaling needs norm 'pre'"),
        ({"lam": 1.2, "loops": 2}, r"lam must lie in \(0, 1\) or be None, got 1.2"),
        ({"lam": 0.5, "loops": 2}, "n_blocks must be 1, got 3"),
        ({"prelude": 1}, "prelude and lam are for looped models"),
        ({"loops": -1}, "loops must be at least 0, got -1"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{**SMALL, **options})


def test_bad_inputs_are_named() -> None:
    model = TinyGPT(**SMALL)
    with pytest.raises(ValueError, match="tokens have length 12, but the model was made for ctx = 9"):
        model(torch.zeros(1, 12, dtype=torch.long))
    with pytest.raises(ValueError, match="readout must be one of raw, rms, final_ln"):
        model.hidden_states(tokens(), "loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a model with a final LayerNorm"):
        TinyGPT(**SMALL, norm="post").hidden_states(tokens(), "final_ln")
    with pytest.raises(ValueError, match="use LoopedGPT"):
        TinyGPT(**SMALL, loops=2)
    with pytest.raises(ValueError, match="loops must be at least 1"):
        LoopedGPT(**SMALL)
    with pytest.raises(ValueError, match="n_loops must be at least 1, got 0"):
        LoopedGPT(**SMALL, loops=2)(tokens(), 0)
    with pytest.raises(ValueError, match="layer must be at least 1, got 0"):
        TransformerBlock(GPTConfig(**SMALL), layer=0)
