"""C2 on the GPU: byte models 200 blocks deep, of convex-potential blocks (Lip ≤ 1) and of plain residual ones."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.claims import Measurement, Scale, Table, Value

from ..blocks import ConvexPotentialBlock
from .corpora import Corpus, python_sources
from .scales import derive, in_words
from .training import Effort, Run, evaluate, seeded, train


@dataclass(frozen=True)
class Setting:
    """Depth, width, and training of a byte model that sees the last `ctx` bytes."""

    n_blocks: int
    d: int
    effort: Effort


SETTINGS = {
    Scale.GPU: Setting(
        200, 256, Effort(400, ctx=32, batch_size=512, val_windows=4096, rates=(3e-4, 1e-3, 3e-3))
    ),
    Scale.PAPER: Setting(
        1000, 512, Effort(5000, ctx=32, batch_size=512, val_windows=4096, rates=(3e-4, 1e-3, 3e-3))
    ),
}


class PlainResidual(nn.Module):
    """x + W₂ relu(W₁ x + b), with W₂ starting at 1/L of its usual size: no bound on Lip once it is trained."""

    def __init__(self, dim: int, n_blocks: int):
        super().__init__()
        self.up, self.down = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.down.weight.div_(n_blocks)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return x + self.down(F.relu(self.up(x)))


class ByteStack(nn.Module):
    """The next byte from the last `ctx` ones: embeddings side by side, one read-in, many blocks, one read-out.

    Args:
        blocks: from (n, d) to (n, d).
        d: width.
        ctx: bytes seen.
        vocab: 256.
    """

    def __init__(self, blocks: list[nn.Module], d: int, ctx: int, vocab: int = 256):
        super().__init__()
        self.ctx = ctx
        self.embed = nn.Embedding(vocab, 16)
        self.read_in, self.read_out = nn.Linear(16 * ctx, d), nn.Linear(d, vocab)
        self.blocks = nn.ModuleList(blocks)

    def states(self, tokens: Int[Tensor, "n ctx"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Before the first and after the last block."""
        first = state = self.read_in(self.embed(tokens).flatten(1))
        for block in self.blocks:
            state = block(state)
        return first, state

    def forward(self, tokens: Int[Tensor, "n ctx"]) -> Float[Tensor, "n 1 vocab"]:
        return self.read_out(self.states(tokens)[1])[:, None]


def build(kind: str, setting: Setting) -> ByteStack:
    """A "convex potential" or "plain residual" model."""
    n, d = setting.n_blocks, setting.d
    makers = {
        "convex potential": lambda: ConvexPotentialBlock(d),
        "plain residual": lambda: PlainResidual(d, n),
    }
    return ByteStack([makers[kind]() for _ in range(n)], d, setting.effort.ctx)


def byte_models(scale: Scale, seed: int, device: torch.device) -> Measurement:
    """Train both at every rate, from the same seed and on the same windows, and compare."""
    return compare(SETTINGS[scale], python_sources(), derive(seed, 1)[0], device)


def compare(setting: Setting, corpus: Corpus, seed: int, device: torch.device) -> Measurement:
    windows = _last_byte(*corpus.windows(setting.effort.ctx, setting.effort.val_windows))
    found = {
        kind: best_run(kind, setting, corpus, windows, seed, device)
        for kind in ("convex potential", "plain residual")
    }
    ratios = {kind: pair_ratio(run.model, windows[0].to(device)) for kind, (_, run) in found.items()}
    frequencies = unigram_bits(corpus)
    conditions = {
        "convex_potential_pair_ratio_at_most_1.0001": ratios["convex potential"][0] <= 1 + 1e-4,
        "convex_potential_beats_single_byte_frequencies": found["convex potential"][0] < frequencies,
    }
    values: dict[str, Value] = {**conditions, "bits per byte of single-byte frequencies": frequencies}
    rows = tuple((kind, bits, *ratios[kind]) for kind, (bits, _) in found.items())
    return Measurement(
        quantity=f"bits per byte with {setting.n_blocks} blocks; baseline plain residual",
        ours=found["convex potential"][0],
        baseline=found["plain residual"][0],
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[Table("byte models", ("blocks", "bits per byte", "largest pair ratio", "retention"), rows)],
    )


def _last_byte(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return inputs, targets[:, -1:]


def best_run(
    kind: str,
    setting: Setting,
    corpus: Corpus,
    windows: tuple[Tensor, Tensor],
    seed: int,
    device: torch.device,
) -> tuple[float, Run]:
    """Bits per byte and the run of the best rate; a run that failed counts as infinite."""
    effort, best = setting.effort, None
    for rate in effort.rates:
        batches = corpus.batches(effort.ctx, effort.batch_size, seed)
        model = seeded(seed, lambda: build(kind, setting)).to(device)
        run = train(model, lambda b=batches: _last_byte(*b()), effort.optim(rate), effort.steps, seed=seed)  # type: ignore[misc]
        bits = evaluate(model, windows, 512) / math.log(2) if run.failure is None else math.inf
        if best is None or bits < best[0]:
            best = bits, run
    if best is None:
        raise ValueError("rates is empty: give at least one learning rate")
    return best


@torch.no_grad()
def pair_ratio(model: nn.Module, tokens: Int[Tensor, "n ctx"]) -> tuple[float, float]:
    """Largest ratio of distances after and before all blocks, and the mean distance after over that before."""
    if not isinstance(model, ByteStack):
        raise TypeError(f"model must be a ByteStack, got {type(model).__name__}")
    first, last = model.states(tokens[:256])
    before, after = torch.pdist(first), torch.pdist(last)
    far = before > 1e-4 * before.median()  # windows that are alike have no ratio
    return float((after[far] / before[far]).max()), float(after.mean() / before.mean())


def unigram_bits(corpus: Corpus) -> float:
    """Cross entropy of the validation bytes under the frequencies of the training bytes."""
    counts = torch.bincount(corpus.train.long(), minlength=corpus.vocab).double() + 1
    logs = (counts / counts.sum()).log2()
    return float(-logs[corpus.val.long()].mean())
