"""C4: GPT-2 style trains where GPT-1 style does not, at depth; with the ladder of what lies between (§7.2, §8)."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim
from tenfold.drawing import Labels, Look, curves

from ..models.config import GPTConfig, gpt1_style, gpt2_style
from .corpora import Corpus, corpus_for
from .scales import derive, device_for, in_words
from .training import Arm, Effort, at_rate, sweep

NATS = 0.6931471805599453
"""Nats in a bit."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a scale.

    Args:
        sizes: of the models.
        effort: of the two arms.
        ladder_steps: steps of each rung of the ladder, all at `ladder_rate`; 0 leaves the ladder out.
        ladder_rate: the middle candidate.
        long_warmup: steps of the warm-up of a third arm, post-LN with more time to start; 0 leaves it out.
    """

    sizes: dict[str, int]
    effort: Effort
    ladder_steps: int = 0
    ladder_rate: float = 1e-3
    long_warmup: int = 0


SMALL = {"ctx": 32, "d": 48, "heads": 4}
SETTINGS = {
    Scale.SMOKE: Setting({**SMALL, "n_blocks": 4}, Effort(100, rates=(3e-3,))),
    Scale.CPU: Setting({**SMALL, "n_blocks": 16}, Effort(400), ladder_steps=120, long_warmup=120),
    Scale.GPU: Setting(
        {"ctx": 512, "d": 512, "heads": 8, "n_blocks": 24},
        Effort(600, ctx=512, batch_size=64, val_windows=256, warmup=60, compile=True),
        ladder_steps=150,
        long_warmup=240,
    ),
    # Peak rates of both arms are swept alike; the batch is half a million tokens, 20 billion tokens in all.
    Scale.PAPER: Setting(
        {"ctx": 1024, "d": 1792, "heads": 14, "n_blocks": 24},
        Effort(40_000, 1024, 512, 1024, rates=(3e-5, 1e-4, 3e-4), warmup=2000, compile=True, parts=32),
        long_warmup=8000,
    ),
}


def ladder(sizes: dict[str, Any]) -> dict[str, GPTConfig]:
    """What lies between the two styles, one change at a time, and three relatives."""
    return {
        "GPT-1: post-LN": gpt1_style(**sizes),
        "post-LN, small branches": gpt1_style(**sizes, residual_scale="1/sqrt(2L)"),
        "post-LN, small branches, final LN": gpt1_style(**sizes, residual_scale="1/sqrt(2L)", final_ln=True),
        "pre-LN, full branches, no final LN": gpt2_style(**sizes, residual_scale="1", final_ln=False),
        "pre-LN, full branches": gpt2_style(**sizes, residual_scale="1"),
        "GPT-2: pre-LN, small branches": gpt2_style(**sizes),
        "peri-LN": GPTConfig(**sizes, norm="peri"),
        "no norms, ReZero": GPTConfig(**sizes, norm="none", residual_scale="rezero"),
        "pre-LN with LayerNorm scaling": gpt2_style(**sizes, residual_scale="1", ln_scaling=True),
    }


@claim(
    "C4",
    "GPT-2 style beats GPT-1 style at depth",
    source="summary of the paper's experiments; the sizes are a reconstruction",
    published="zero-shot average of two models of about 1B parameters: GPT-2 style 47.57 %, GPT-1 style 34.89 %",
)
def norm_placement(scale: Scale, seed: int) -> Measurement:
    """Pre-LN against post-LN with the same learning rates, steps, batches and seeds; every run is in the table.

    smoke (L4, 100 steps, one rate 3e-3, Python's manual): pre <= 2.75 and post >= 3.0 nats a character.
    cpu (tinyshakespeare, L16, 400 steps, the best of three rates for each arm): gap >= 0.15 nats a character.
    gpu (bytes of Python sources, L24, d 512, ctx 512): gap >= 0.05 bits a byte; a post-LN arm that diverges, or stays
    above the entropy of single bytes, counts as a gap, too.
    paper (1B, 20 billion tokens): as gpu, in bits a token; the zero-shot averages need lm-evaluation-harness and are
    not measured here.

    Beside it, without a condition: post-LN with a longer warm-up, and the ladder of changes between the styles.
    """
    setting, device, corpus = SETTINGS[scale], device_for(scale), corpus_for(scale)
    sizes = {**setting.sizes, "vocab": corpus.vocab}
    run = derive(seed, 1)[0]
    pre = arm(gpt2_style(**sizes), setting.effort, corpus, run, device)
    post = arm(gpt1_style(**sizes), setting.effort, corpus, run, device)
    plateau = entropy_of_single_tokens(corpus)
    conditions = verdict(scale, pre.loss, post.loss, plateau)
    values: dict[str, Value] = {
        **conditions,
        "gap": _finite(post.loss - pre.loss),
        "single_token_entropy": plateau,
    }
    if setting.long_warmup:
        patient = replace(at_rate(setting.effort, post.rate), warmup=setting.long_warmup)
        values["post_with_longer_warmup"] = _finite(
            arm(gpt1_style(**sizes), patient, corpus, run, device).loss
        )
    tables = [runs_table(pre, post)]
    if setting.ladder_steps:
        tables.append(ladder_table(sizes, setting, corpus, run, device))
    return Measurement(
        quantity=f"validation loss of pre-LN (nats a token, {corpus.name}), L = {sizes['n_blocks']}; baseline post-LN",
        ours=pre.loss,
        baseline=_finite(post.loss),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=tables,
        figures=[rates_figure(pre, post, plateau, sizes["n_blocks"])],
    )


def arm(config: GPTConfig, effort: Effort, corpus: Corpus, seed: int, device: torch.device) -> Arm:
    """One style at every candidate rate."""
    windows = corpus.windows(effort.ctx, effort.val_windows)
    return sweep(
        config, lambda: corpus.batches(effort.ctx, effort.batch_size, seed), windows, effort, seed, device
    )


def verdict(scale: Scale, pre: float, post: float, plateau: float) -> dict[str, bool]:
    """The conditions of a scale."""
    if scale == Scale.SMOKE:
        return {"pre_at_most_2.75": pre <= 2.75, "post_at_least_3.0": post >= 3.0}
    if scale == Scale.CPU:
        return {"gap_at_least_0.15_nats": post - pre >= 0.15}
    apart = post - pre >= 0.05 * NATS or post >= plateau - 0.02
    return {"gap_at_least_0.05_bits_or_post_LN_stuck": apart and pre < plateau - 0.02}


def entropy_of_single_tokens(corpus: Corpus) -> float:
    """Nats a token of a model that knows how frequent each token is, and nothing else: the plateau of untrained depth."""
    part = corpus.train[:10_000_000].long()
    counts = torch.bincount(part, minlength=corpus.vocab).double()
    p = counts / counts.sum()
    return float(-torch.xlogy(p, p).sum())


def _finite(loss: float) -> float | None:
    """None for a run that diverged."""
    return loss if loss < float("inf") else None


def runs_table(pre: Arm, post: Arm) -> Table:
    rows = tuple(
        (style, rate, _finite(loss))
        for style, found in (("pre-LN", pre), ("post-LN", post))
        for rate, loss in found.losses.items()
    )
    return Table("every run", ("style", "peak learning rate", "validation loss (nats)"), rows)


def ladder_table(
    sizes: dict[str, int], setting: Setting, corpus: Corpus, seed: int, device: torch.device
) -> Table:
    """Every rung with the same rate, steps, batches and seed; shorter than the arms."""
    effort = replace(at_rate(setting.effort, setting.ladder_rate), steps=setting.ladder_steps)
    rows = tuple(
        (name, _finite(arm(config, effort, corpus, seed, device).loss))
        for name, config in ladder(sizes).items()
    )
    return Table(
        f"ladder: {effort.steps} steps at {setting.ladder_rate:g}", ("style", "validation loss (nats)"), rows
    )


def rates_figure(pre: Arm, post: Arm, plateau: float, n_blocks: int) -> Figure:
    lines = {
        name: (list(found.losses), list(found.losses.values()))
        for name, found in (("pre-LN (GPT-2 style)", pre), ("post-LN (GPT-1 style)", post))
    }
    return curves(
        "norm-placement",
        lines,
        Labels(
            f"{n_blocks} blocks: where the LayerNorm stands decides",
            "peak learning rate",
            "validation loss (nats a token)",
            f"Validation loss over the learning rate: pre-LN at best {pre.loss:.3f}, post-LN {post.loss:.3f} nats a token; "
            f"knowing the frequencies of tokens alone gives {plateau:.3f}.",
        ),
        Look(log="x", guides={"frequencies of tokens alone": plateau}),
    )
