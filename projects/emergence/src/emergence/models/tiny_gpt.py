"""TinyGPT: a causal language model whose style and depth can be set piece by piece (§4.1, §4.3)."""

from typing import Any, Literal, Self, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tenfold.checkpoint import PretrainedMixin

from .block import TransformerBlock
from .config import GPTConfig, Norm

Readout = Literal["raw", "rms", "final_ln"]


class LanguageModel(PretrainedMixin, nn.Module):
    """Embedding, learned positions, and a read-out tied to the embedding; what is between them is a subclass's.

    Args:
        config: sizes and style.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.settings = config
        self.config = config.to_dict()
        self.tokens = nn.Embedding(config.vocab, config.d)
        self.positions = nn.Embedding(config.ctx, config.d)
        self.final_ln = nn.LayerNorm(config.d) if config.has_final_ln else nn.Identity()
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=1.0 if config.init_std is None else config.init_std)

    @classmethod
    def from_config(cls, config: GPTConfig) -> Self:
        """The model that a `GPTConfig` describes."""
        return cls(**config.to_dict())

    def embed(self, tokens: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """The residual stream before the first block.

        Raises:
            ValueError: if the sequence is longer than the context.
        """
        length = tokens.shape[-1]
        if length > self.settings.ctx:
            raise ValueError(
                f"tokens have length {length}, but the model was made for ctx = {self.settings.ctx}"
            )
        return self.tokens(tokens) + self.positions.weight[:length]

    def read_out(self, h: Float[Tensor, "b s d"]) -> Float[Tensor, "b s vocab"]:
        """Logits from the residual stream after the last block."""
        return F.linear(self.final_ln(h), self.tokens.weight)

    def read_stream(self, h: Float[Tensor, "... d"], readout: Readout = "raw") -> Float[Tensor, "... d"]:
        """The stream as it is, divided by its root mean square, or through the final norm.

        Pre-norm streams grow with depth and have no limit in raw coordinates: ask for "rms" or "final_ln" to study it.
        """
        if readout not in get_args(Readout):
            raise ValueError(f"readout must be one of {', '.join(get_args(Readout))}, got {readout!r}")
        if readout == "final_ln":
            if isinstance(self.final_ln, nn.Identity):
                raise ValueError("readout 'final_ln' needs a model with a final LayerNorm; use 'rms'")
            return self.final_ln(h)
        return h if readout == "raw" else h / h.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)

    def loss(self, tokens: Int[Tensor, "b s"], targets: Int[Tensor, "b s"]) -> Float[Tensor, ""]:
        """Cross entropy in nats a token; targets of −100 do not count."""
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())

    @property
    def n_params(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class TinyGPT(LanguageModel):
    """A causal transformer; the embedding is also the read-out, there is no dropout.

    Args:
        vocab: number of symbols.
        ctx: longest sequence.
        d: width.
        heads: attention heads.
        n_blocks: blocks in depth.
        norm: where the LayerNorms stand: "pre", "post", "peri" or "none".
        **options: every other setting of `GPTConfig`: `tied_depth`, `residual_scale`, `attn`, `final_ln`, …

    Example:
        >>> model = TinyGPT(vocab=65, ctx=32, d=48, heads=4, n_blocks=4)
        >>> model.n_params
        117840
        >>> model(torch.zeros(2, 10, dtype=torch.long)).shape
        torch.Size([2, 10, 65])
    """

    def __init__(
        self, vocab: int, ctx: int, d: int, heads: int, n_blocks: int, norm: Norm = "pre", **options: Any
    ):
        config = GPTConfig(vocab, ctx, d, heads, n_blocks, norm, **options)
        if config.loops:
            raise ValueError(f"loops must be 0 for a TinyGPT, got {config.loops}: use LoopedGPT")
        super().__init__(config)
        distinct = 1 if config.tied_depth else n_blocks
        self.blocks = nn.ModuleList(TransformerBlock(config, layer + 1) for layer in range(distinct))

    @property
    def depth_blocks(self) -> list[nn.Module]:
        """The blocks in the order a token passes through them; of a tied model the same one every time."""
        return [self.blocks[layer % len(self.blocks)] for layer in range(self.settings.n_blocks)]

    def hidden_states(
        self, tokens: Int[Tensor, "b s"], readout: Readout = "raw"
    ) -> Float[Tensor, "layers b s d"]:
        """The residual stream before the first block and after each one, L + 1 in all."""
        h = self.embed(tokens)
        states = [h]
        for block in self.depth_blocks:
            h = block(h)
            states.append(h)
        return self.read_stream(torch.stack(states), readout)

    def forward(self, tokens: Int[Tensor, "b s"]) -> Float[Tensor, "b s vocab"]:
        h = self.embed(tokens)
        for block in self.depth_blocks:
            h = block(h)
        return self.read_out(h)
