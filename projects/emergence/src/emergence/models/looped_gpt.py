"""LoopedGPT: one turn of blocks, repeated as often as one likes (§4.3, T6).

    z_0 = prelude(embed(tokens)),   z_{p+1} = T(z_p; z_0),   logits = read-out(z_P)

Trained with a random number of turns, it can be evaluated at any. With `lam` the turn is z <- tanh(W z + U z_0 + b)
with ‖W‖₂ ≤ lam < 1, so that z_P tends to a limit which depends on the input, at the rate lam or faster, whatever
was trained. Without it the turn is a transformer block, and nothing is certified.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..blocks import InjectedBlock
from .block import TransformerBlock
from .config import GPTConfig, Norm
from .tiny_gpt import LanguageModel, Readout, TinyGPT


class LoopedGPT(LanguageModel):
    """A language model that repeats its blocks.

    In training mode the number of turns is drawn from U{1 … loops} at every call, unless it is given.

    Args:
        vocab: number of symbols.
        ctx: longest sequence.
        d: width.
        heads: attention heads.
        n_blocks: blocks of one turn.
        norm: where the LayerNorms stand.
        **options: every other setting of `GPTConfig`: `loops` (at least 1), `injection`, `lam`, `prelude`, …

    Example:
        >>> model = LoopedGPT(vocab=65, ctx=32, d=16, heads=2, n_blocks=1, loops=4, lam=0.8, prelude=1).eval()
        >>> model(torch.zeros(2, 10, dtype=torch.long), n_loops=16).shape
        torch.Size([2, 10, 65])
    """

    def __init__(
        self, vocab: int, ctx: int, d: int, heads: int, n_blocks: int, norm: Norm = "pre", **options: Any
    ):
        config = GPTConfig(vocab, ctx, d, heads, n_blocks, norm, **options)
        if config.loops < 1:
            raise ValueError(f"loops must be at least 1 for a LoopedGPT, got {config.loops}")
        super().__init__(config)
        self.prelude = nn.ModuleList(TransformerBlock(config) for _ in range(config.prelude))
        if config.lam is not None:
            self.cell: nn.Module = InjectedBlock(d, d, lam=config.lam)
        else:
            self.cell = nn.Sequential(*(TransformerBlock(config) for _ in range(n_blocks)))

    def inject(self, tokens: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """z_0: what the loop starts from, and sees in every turn."""
        h = self.embed(tokens)
        for block in self.prelude:
            h = block(h)
        return h

    def turn(self, z: Float[Tensor, "b s d"], x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """One turn of the loop, T(z; x)."""
        if self.settings.lam is not None:
            return self.cell(z, x)
        return self.cell(z + x) if self.settings.injection else self.cell(z)

    def states(
        self, tokens: Int[Tensor, "b s"], n_loops: int, readout: Readout = "raw"
    ) -> Float[Tensor, "turns b s d"]:
        """z_0, z_1, …, z_P, for P = n_loops."""
        x = z = self.inject(tokens)
        found = [z]
        with parametrize.cached():  # one singular value decomposition for all turns
            for _ in range(self._checked(n_loops)):
                z = self.turn(z, x)
                found.append(z)
        return self.read_stream(torch.stack(found), readout)

    def forward(self, tokens: Int[Tensor, "b s"], n_loops: int | None = None) -> Float[Tensor, "b s vocab"]:
        if n_loops is None:
            most = self.settings.loops
            n_loops = int(torch.randint(1, most + 1, ())) if self.training else most
        x = z = self.inject(tokens)
        with parametrize.cached():
            for _ in range(self._checked(n_loops)):
                z = self.turn(z, x)
        return self.read_out(z)

    @staticmethod
    def _checked(n_loops: int) -> int:
        if n_loops < 1:
            raise ValueError(f"n_loops must be at least 1, got {n_loops}")
        return n_loops


def build_model(config: GPTConfig) -> LanguageModel:
    """The model a configuration describes: a `LoopedGPT` where it has loops, a `TinyGPT` otherwise.

    Example:
        >>> type(build_model(GPTConfig(n_blocks=1, loops=4))).__name__
        'LoopedGPT'
    """
    return (LoopedGPT if config.loops else TinyGPT).from_config(config)
