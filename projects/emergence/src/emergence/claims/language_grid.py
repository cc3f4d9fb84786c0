"""A grid of language models over data, depth and steps, where data repeat so that N and K vary independently (§5, §10.10).

Part of C3 at the gpu and paper scales. The laws are compared; none is required to win.
"""

from dataclasses import dataclass

import pandas as pd
import torch

from tenfold.claims import Scale, Table

from ..models.config import GPTConfig
from ..scaling.compare import compare_laws
from ..scaling.forms import ChinchillaLaw, LimitLaw, PowerStepLaw
from ..scaling.laws import ScalingLaw, SumLaw, Term
from .corpora import Corpus, corpus_for
from .training import Effort, evaluate, start, train

LAWS: dict[str, ScalingLaw] = {
    "limit": LimitLaw(),
    "limit, γ free": LimitLaw(gamma=None),
    "chinchilla": ChinchillaLaw(),
    "steps by a power": PowerStepLaw(gamma=None),
    "all by powers": SumLaw(
        name="powers",
        terms=(
            Term("a", "eta", "n_steps", "power"),
            Term("b", "delta", "n_blocks", "power"),
            Term("c", "gamma", "n_data", "power"),
        ),
    ),
}


@dataclass(frozen=True)
class Grid:
    """Sizes of the grid.

    Args:
        data: tokens of the training text that are used.
        blocks: numbers of blocks.
        looks: steps after which the validation loss is taken.
        width, heads: of the models.
        effort: of each run; one rate.
    """

    data: tuple[int, ...]
    blocks: tuple[int, ...]
    looks: tuple[int, ...]
    width: int
    heads: int
    effort: Effort


GRIDS = {
    Scale.GPU: Grid(
        (2**18, 2**20, 2**22, 2**24),
        (1, 2, 4, 8, 16),
        (100, 200, 400, 800, 1600),
        256,
        8,
        Effort(1600, ctx=256, batch_size=64, val_windows=256, rates=(1e-3,), warmup=50, compile=True),
    ),
    Scale.PAPER: Grid(
        (10**8, 10**9, 10**10),
        (2, 4, 8, 16, 32),
        (2500, 5000, 10_000, 20_000),
        1024,
        16,
        Effort(
            20_000,
            ctx=1024,
            batch_size=256,
            val_windows=1024,
            rates=(3e-4,),
            warmup=1000,
            compile=True,
            parts=16,
        ),
    ),
}


@dataclass(frozen=True)
class LanguageResult:
    """Conditions (that every run is finite) and tables: the laws on every hold-out, and the runs."""

    conditions: dict[str, bool]
    tables: list[Table]


def compare_on_language(scale: Scale, seed: int, device: torch.device) -> LanguageResult:
    """Train the grid and compare the laws on it."""
    grid = GRIDS[scale]
    rows, failures = train_grid(grid, corpus_for(scale), seed, device)
    compared = [comparison(rows, grid)] if not failures else []
    runs = Table(
        "language-grid", tuple(rows.columns), tuple(map(tuple, rows.astype(float).to_numpy().tolist()))
    )
    return LanguageResult({"all_runs_of_the_language_grid_are_finite": not failures}, [*compared, runs])


def train_grid(grid: Grid, corpus: Corpus, seed: int, device: torch.device) -> tuple[pd.DataFrame, list[str]]:
    """One row a look: n_data, n_blocks, n_steps, n_params, n_tokens, loss; and the runs that failed, in words.

    Raises:
        ValueError: the corpus is shorter than the largest size.
    """
    if len(corpus.train) < max(grid.data):
        raise ValueError(
            f"{corpus.name} has {len(corpus.train)} tokens to train on, the grid needs {max(grid.data)}"
        )
    effort, (rate,) = grid.effort, grid.effort.rates
    windows = corpus.windows(effort.ctx, effort.val_windows)
    rows, failures = [], []
    for n_data in grid.data:
        part = Corpus(corpus.name, corpus.train[:n_data], corpus.val, corpus.vocab)
        for n_blocks in grid.blocks:
            config = GPTConfig(corpus.vocab, effort.ctx, grid.width, grid.heads, n_blocks)
            model = start(config, seed, device)
            run = train(
                model,
                part.batches(effort.ctx, effort.batch_size, seed),
                effort.optim(rate),
                effort.steps,
                seed=seed,
                compiled=effort.compile,
                parts=effort.parts,
                look_at=grid.looks,
                look=lambda network: evaluate(network, windows),
            )
            if run.failure is not None:
                failures.append(f"{n_data} tokens, {n_blocks} blocks: {run.failure}")
            for n_steps, loss in run.observed.items():
                seen = n_steps * effort.batch_size * effort.ctx
                rows.append((n_data, n_blocks, n_steps, model.n_params, seen, loss))
    names = ["n_data", "n_blocks", "n_steps", "n_params", "n_tokens", "loss"]
    return pd.DataFrame(rows, columns=names), failures


def comparison(rows: pd.DataFrame, grid: Grid, n_starts: int = 64) -> Table:
    """Information criteria of all laws, and their errors on the deepest, the largest and the longest runs."""
    holdouts = {
        "deepest": f"n_blocks>={max(grid.blocks)}",
        "most data": f"n_data>={max(grid.data)}",
        "most steps": f"n_steps>={max(grid.looks)}",
    }
    found = {
        word: compare_laws(rows, LAWS, condition, n_starts=n_starts).set_index("law")
        for word, condition in holdouts.items()
    }
    first = next(iter(found.values()))
    columns: tuple[str, ...] = ("law", "parameters", "AICc", "R² (log)", "identifiable")
    columns += tuple(f"error, {word}" for word in found)
    body = tuple(
        (
            law,
            int(first["parameters"][law]),
            float(first["aicc"][law]),
            float(first["r2"][law]),
            bool(first["identifiable"][law]),
            *(float(table["holdout_error"][law]) for table in found.values()),
        )
        for law in first.index
    )
    return Table("laws-on-language", columns, body)
