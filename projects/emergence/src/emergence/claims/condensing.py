"""C5: the blocks of a trained network settle towards the identity with depth; those of an untrained one do not (§3.6, §7.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

import tenfold.data
from tenfold.claims import Figure, Measurement, Scale, Value, claim
from tenfold.data import DataNotFoundError
from tenfold.drawing import Labels

from ..covering import covering_radius
from ..figures import condensing_profile
from ..lipschitz.pairs import pair_statistics
from ..models.config import GPTConfig, gpt1_style, gpt2_style
from ..models.tiny_gpt import TinyGPT
from ..probe import LayerProfile, probe_layers
from .corpora import Corpus, corpus_for
from .scales import derive, device_for, in_words
from .training import Effort, start, train

METRICS = (
    "sigma",
    "relative_update",
    "token_cosine",
    "pair_ratio",
    "effective_rank",
    "covering",
    "block_distance",
)
HUGGING_FACE = ("Llama-3.1-8B", "Qwen2-7B", "deepseek-moe-16b-base")
"""Folders below `hugging-face/` of the data folder that the paper scale probes."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a scale: of the model, of its training, and how many sequences are looked at.

    The first rate gives the result, for both places of the norm; pre-LN at the others is shown without a condition.
    """

    sizes: dict[str, int]
    effort: Effort
    n_points: int = 16


SMALL = {"ctx": 32, "d": 48, "heads": 4}
SETTINGS = {
    Scale.SMOKE: Setting({**SMALL, "n_blocks": 4}, Effort(60, rates=(3e-3,)), n_points=4),
    Scale.CPU: Setting({**SMALL, "n_blocks": 8}, Effort(400, rates=(3e-3, 1e-3))),
    Scale.GPU: Setting(
        {"ctx": 512, "d": 512, "heads": 8, "n_blocks": 24},
        Effort(600, ctx=512, batch_size=64, rates=(1e-3,), warmup=60, compile=True),
        n_points=4,
    ),
}


@claim(
    "C5",
    "Trained models condense: their blocks settle towards the critical value with depth",
    source="summary of the paper's experiments; the exact definition is not available, the measurements are ours",
    published="condensing visible in Llama-3.1, Qwen-2 and DeepSeek-MoE; no numbers",
    known_gaps={
        "cpu": "the last block's largest singular value is 1.60, 1.83 and 2.15 (seeds 0, 1, 2) where 1.5 is allowed, after 61, 85 and 68 in "
        "the first; relative updates fall as required (Spearman -0.93, -0.98, -0.93). At the rate 1e-3 the last one is 1.38, 1.26 and 1.31 and "
        "all conditions hold: how far blocks settle depends on the rate"
    },
)
def condensing(scale: Scale, seed: int) -> Measurement:
    """A pre-LN model, probed on validation text in float64, beside the same model before training and a post-LN one.

    cpu (L8, 400 steps), gpu (L24): the largest singular value over points is <= 1.5 in the last block and >= 3 in the first;
    Spearman's correlation of layer and relative update is <= −0.8; the untrained control does not have the pattern of
    first and last block.
    smoke (L4, 60 steps): the untrained control is flat (largest over smallest singular value <= 1.6), and every block obeys
    e_m(T(D)) <= 2 Lip(T|D) e_m(D).
    cpu trains at 3e-3, the rate with the lowest loss for pre-LN (§7.2). The criterion depends on it: at 1e-3, which is
    measured, too, without a condition, the last block settles further.
    paper: every checkpoint in `hugging-face/` of the data folder, by its relative updates; the criterion is Spearman <= −0.8
    over the first half of the blocks for each (the last blocks of language models write the prediction).
    """
    if scale == Scale.PAPER:
        return checkpoints()
    setting, device, corpus = SETTINGS[scale], device_for(scale), corpus_for(scale)
    run, sizes = derive(seed, 1)[0], {**setting.sizes, "vocab": corpus.vocab}
    untrained = start(gpt2_style(**sizes), run, device).eval()
    control = profile(untrained, corpus, setting)
    model = trained(gpt2_style(**sizes), corpus, setting.effort, run, device, setting.effort.rates[0])
    ours = profile(model, corpus, setting)
    conditions = (
        smoke_verdict(model, control, corpus, setting) if scale == Scale.SMOKE else verdict(ours, control)
    )
    values: dict[str, Value] = {**conditions, **numbers("trained", ours), **numbers("untrained", control)}
    if scale != Scale.SMOKE:
        rate = setting.effort.rates[0]
        others = {"post-LN": (gpt1_style(**sizes), rate)}
        others |= {f"trained at {rate:g}": (gpt2_style(**sizes), rate) for rate in setting.effort.rates[1:]}
        for name, (config, at) in others.items():
            other = trained(config, corpus, setting.effort, run, device, at)
            values |= numbers(name, profile(other, corpus, setting))
    return Measurement(
        quantity="largest singular value of the last block's Jacobian, trained; baseline untrained",
        ours=float(ours["sigma"][-1]),
        baseline=float(control["sigma"][-1]),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        figures=[picture(ours, control)],
    )


def trained(
    config: GPTConfig, corpus: Corpus, effort: Effort, seed: int, device: torch.device, rate: float
) -> TinyGPT:
    """A model after its training; a training that fails is an error here, not a result."""
    model = start(config, seed, device)
    assert isinstance(model, TinyGPT)
    run = train(
        model,
        corpus.batches(effort.ctx, effort.batch_size, seed),
        effort.optim(rate),
        effort.steps,
        seed=seed,
        compiled=effort.compile,
    )
    if run.failure is not None:
        raise RuntimeError(f"training of {config.norm}-LN failed: {run.failure}")
    return model


def probe_tokens(model: nn.Module, corpus: Corpus, setting: Setting) -> Tensor:
    tokens, _ = corpus.windows(setting.sizes["ctx"], setting.n_points)
    return tokens.to(next(model.parameters()).device)


def profile(model: nn.Module, corpus: Corpus, setting: Setting) -> LayerProfile:
    """All metrics on the validation text."""
    return probe_layers(
        model.eval(), probe_tokens(model, corpus, setting), METRICS, n_points=setting.n_points
    )


def verdict(ours: LayerProfile, control: LayerProfile) -> dict[str, bool]:
    return {
        "last_sigma_at_most_1.5": float(ours["sigma"][-1]) <= 1.5,
        "first_sigma_at_least_3": float(ours["sigma"][0]) >= 3,
        "Spearman_of_layer_and_relative_update_at_most_-0.8": ours.trend("relative_update") <= -0.8,
        "untrained_lacks_the_pattern": not (
            float(control["sigma"][-1]) <= 1.5 and float(control["sigma"][0]) >= 3
        ),
    }


def smoke_verdict(model: TinyGPT, control: LayerProfile, corpus: Corpus, setting: Setting) -> dict[str, bool]:
    sigma = control["sigma"]
    return {
        "untrained_sigma_flat_within_1.6": float(sigma.max() / sigma.min()) <= 1.6,
        "covers_within_2_Lip": covers_within_bound(model, probe_tokens(model, corpus, setting)),
    }


@torch.no_grad()
def covers_within_bound(model: TinyGPT, tokens: Tensor, m: int = 8) -> bool:
    """e_m(T(D)) ≤ 2 Lip(T|D) e_m(D) for every block, D being the distinct tokens that enter it, in float64."""
    states = model.hidden_states(tokens).double().flatten(1, 2)
    for x, y in pairwise(states):
        bound = 2 * pair_statistics(x, y, min_dist=0.0).max * float(covering_radius(x, m))
        if float(covering_radius(y, m)) > bound * (1 + 1e-6):
            return False
    return True


def numbers(name: str, found: LayerProfile) -> dict[str, Value]:
    """First and last entries, trends."""
    values: dict[str, Value] = {}
    for metric in ("sigma", "relative_update", "pair_ratio_median", "effective_rank"):
        values[f"{name}/{metric}, first"] = float(found[metric][0])
        values[f"{name}/{metric}, last"] = float(found[metric][-1])
    values[f"{name}/Spearman of layer and relative update"] = found.trend("relative_update")
    return values


def picture(ours: LayerProfile, control: LayerProfile) -> Figure:
    shown: Mapping[str, str] = {
        "largest singular value": "sigma",
        "relative update": "relative_update",
        "median pair ratio": "pair_ratio_median",
    }
    first, last = float(ours["sigma"][0]), float(ours["sigma"][-1])
    return condensing_profile(
        "condensing-profile",
        {word: ours[name].tolist() for word, name in shown.items()},
        {word: control[name].tolist() for word, name in shown.items()},
        Labels(
            "Trained blocks settle with depth",
            "layer",
            "",
            f"Layer by layer, trained and untrained. Largest singular value of the trained model: {first:.2f} in the first "
            f"block, {last:.2f} in the last; untrained {float(control['sigma'][0]):.2f} and {float(control['sigma'][-1]):.2f}.",
        ),
        {"largest singular value": {"critical": 1.0}},
    )


def checkpoints() -> Measurement:
    """The public checkpoints that lie in the data folder."""
    from ..probe_hf import load_hf, tokens_of

    folder = tenfold.data.root() / "hugging-face"
    missing = [name for name in HUGGING_FACE if not (folder / name).is_dir()]
    if missing:
        raise DataNotFoundError(
            f"{folder / missing[0]} not found: put the checkpoint there as Hugging Face publishes it (config, tokenizer, "
            f"safetensors); the paper scale wants {', '.join(HUGGING_FACE)}"
        )
    text = corpus_text()
    values: dict[str, Value] = {}
    conditions = {}
    for name in HUGGING_FACE:
        model = load_hf(folder / name)
        found = probe_layers(
            model, tokens_of(folder / name, text, n=8, length=256), ("relative_update", "token_cosine", "effective_rank"),
            dtype=torch.float32,
        )  # fmt: skip
        half = LayerProfile({k: v[: found.n_layers // 2] for k, v in found.values.items()})
        values[f"{name}/Spearman"] = half.trend("relative_update")
        conditions[f"{name}_Spearman_at_most_-0.8"] = half.trend("relative_update") <= -0.8
    return Measurement(
        quantity="largest Spearman correlation of layer and relative update over the checkpoints",
        ours=max(float(values[f"{name}/Spearman"] or 0) for name in HUGGING_FACE),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values={**conditions, **values},
    )


def corpus_text() -> str:
    """English text for the checkpoints: the test part of WikiText-2."""
    from ..data.text import load_wikitext2

    return load_wikitext2("test")
