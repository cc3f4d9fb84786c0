"""A transformer block with its norms in any of four places (§4.1).

pre    u = x + Attn(LN1 x)           y = u + MLP(LN2 u)
post   u = LN1(x + Attn x)           y = LN2(u + MLP u)
peri   u = x + LN1'(Attn(LN1 x))     y = u + LN2'(MLP(LN2 u))
none   u = x + Attn x                y = u + MLP u
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import ATTENTIONS
from .config import GPTConfig


class MLP(nn.Module):
    """Two linear maps with a GELU (erf) between them, four times as wide inside."""

    def __init__(self, d: int):
        super().__init__()
        self.up = nn.Linear(d, 4 * d)
        self.out = nn.Linear(4 * d, d)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return self.out(F.gelu(self.up(x)))


class TransformerBlock(nn.Module):
    """Causal self-attention and an MLP, each as a residual branch.

    Args:
        config: width, heads, and style.
        layer: position in depth from 1, for LayerNorm scaling.

    Example:
        >>> block = TransformerBlock(GPTConfig(d=8, heads=2))
        >>> block(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, config: GPTConfig, layer: int = 1):
        super().__init__()
        if layer < 1:
            raise ValueError(f"layer must be at least 1, got {layer}")
        d, self.style = config.d, config.norm
        normed = config.norm != "none"
        self.ln1 = nn.LayerNorm(d) if normed else nn.Identity()
        self.attn = ATTENTIONS[config.attn](d, config.heads, causal=True)
        self.ln2 = nn.LayerNorm(d) if normed else nn.Identity()
        self.mlp = MLP(d)
        self.ln1_out = nn.LayerNorm(d) if config.norm == "peri" else nn.Identity()
        self.ln2_out = nn.LayerNorm(d) if config.norm == "peri" else nn.Identity()
        self.ln_factor = 1 / math.sqrt(layer) if config.ln_scaling else 1.0
        self.gates = nn.Parameter(torch.zeros(2)) if config.residual_scale == "rezero" else None
        self._start(config)

    def _start(self, config: GPTConfig) -> None:
        """N(0, init_std²) for every matrix, 0 for biases; what writes into the stream is scaled by the branch factor."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                std = module.in_features**-0.5 if config.init_std is None else config.init_std
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for projection in (self.attn.out, self.mlp.out):
                projection.weight.mul_(config.branch_factor)

    def _attend(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        branch = self.ln1_out(self.attn(x))
        return branch if self.gates is None else self.gates[0] * branch

    def _feed(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        branch = self.ln2_out(self.mlp(x))
        return branch if self.gates is None else self.gates[1] * branch

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        if self.style == "post":
            u = self.ln1(x + self._attend(x))
            return self.ln2(u + self._feed(u))
        if self.ln_factor != 1:
            u = x + self._attend(self.ln_factor * self.ln1(x))
            return u + self._feed(self.ln_factor * self.ln2(u))
        u = x + self._attend(self.ln1(x))
        return u + self._feed(self.ln2(u))
