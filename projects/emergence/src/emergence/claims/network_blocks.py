"""Blocks of networks for C1: random transformer blocks (cpu), turns of trained loops (gpu), public checkpoints (paper)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..layer_calls import record_layers
from ..limits.classify import LEAST_STARTS, classify_block
from ..limits.report import BlockReport
from ..models.block import TransformerBlock
from ..models.config import GPTConfig
from ..models.looped_gpt import LoopedGPT
from .corpora import python_sources
from .training import Effort, seeded, start, train

Reports = dict[str, BlockReport]
Conditions = dict[str, bool]

LOOPS = Effort(300, ctx=128, batch_size=64, rates=(1e-3,), warmup=60)
LAM = 0.9

AGREEMENT = 0.02
"""Two estimates of ρ may differ by this: the width of the critical band. The regimes are reported, not compared: a block
close to the border of the band may be called either."""


def random_blocks(
    seed: int, n_tokens: int = 16, styles: tuple[str, ...] = ("pre", "post", "peri")
) -> tuple[Reports, Conditions]:
    """Transformer blocks as they are before training, with small (0.02) and unit-gain weights, each judged from two
    disjoint halves of the starts, which must agree on ρ."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * LEAST_STARTS, n_tokens, 48, generator=generator, dtype=torch.float64)
    reports, close = Reports(), True
    for norm in styles:
        for std in (0.02, None):
            config = GPTConfig(norm=norm, init_std=std, residual_scale="1")  # type: ignore[arg-type]
            block = seeded(seed, lambda config=config: TransformerBlock(config)).double().eval()  # type: ignore[misc]
            halves = [classify_block(block, half, n_points=4) for half in x.split(LEAST_STARTS)]
            name = f"random block, {norm}-LN, std {std or 'unit gain'}"
            reports[name] = halves[0]
            close &= abs(halves[0].rho - halves[1].rho) <= AGREEMENT
    return reports, {f"rho_from_two_halves_of_the_starts_within_{AGREEMENT}": close}


def trained_turns(
    seed: int, device: torch.device, effort: Effort = LOOPS, d: int = 512, heads: int = 8
) -> tuple[Reports, Conditions]:
    """The turn of a loop trained on bytes, certified to contract by 0.9 and unconstrained, at one injected sequence."""
    corpus = python_sources()
    reports = Reports()
    for name, lam in (("certified", LAM), ("unconstrained", None)):
        config = GPTConfig(
            corpus.vocab, effort.ctx, d, heads, n_blocks=1, loops=8, prelude=1, lam=lam, injection=True
        )
        model = start(config, seed, device)
        draw = corpus.batches(effort.ctx, effort.batch_size, seed)
        run = train(model, draw, effort.optim(effort.rates[0]), effort.steps, seed=seed)
        if run.failure is not None:
            raise RuntimeError(f"training of the {name} loop failed: {run.failure}")
        tokens = corpus.windows(effort.ctx, LEAST_STARTS)[0][:, :32].to(device)
        reports[f"trained loop, {name}"] = judge_turn(model, tokens)
    certified = reports["trained loop, certified"]
    return reports, {
        "certified_loop_is_contractive": certified.regime == "contractive",
        "rho_of_the_certified_loop_at_most_0.91": certified.rho <= LAM + 0.01,
    }


def judge_turn(model: torch.nn.Module, tokens: Tensor) -> BlockReport:
    """z ↦ T(z; z₀) with the z₀ of the first sequence, from the states of all sequences."""
    if not isinstance(model, LoopedGPT):
        raise TypeError(f"model must be a LoopedGPT, got {type(model).__name__}")
    model = model.double().eval()
    with torch.no_grad():
        z = model.inject(tokens)
    injected = z[:1]
    generator = torch.Generator(z.device).manual_seed(0)
    return classify_block(
        lambda state: model.turn(state, injected),
        z,
        injected=True,
        n_points=2,
        isolate=False,
        generator=generator,
    )


def checkpoint_reports(folder: Path, n_tokens: int = 16, n_steps: int = 16) -> Mapping[str, BlockReport]:
    """First, middle and last block of a checkpoint, from the states that random tokens give them."""
    from ..probe_hf import load_hf, random_tokens

    model = load_hf(folder)
    tokens = random_tokens(model, LEAST_STARTS, n_tokens)
    calls, _ = record_layers(model, tokens)
    chosen = {"first block": 0, "middle block": len(calls) // 2, "last block": len(calls) - 1}
    return {
        name: classify_block(calls[i].call, calls[i].x, n_steps=n_steps, n_points=1, isolate=False)
        for name, i in chosen.items()
    }
