"""One description for the whole family between GPT-1 and GPT-2 style: where the norms stand, how branches start (§4.1).

Going from GPT-1 to GPT-2 style changes three things, and each is an axis of its own here, so that one can see which of
them matters: the place of the LayerNorm, the norm before the read-out, and the scale of the residual branches at the
start.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

Norm = Literal["pre", "post", "peri", "none"]
ResidualScale = Literal["1", "1/sqrt(2L)", "1/L", "rezero"]
Attention = Literal["dot", "l2", "cosine"]


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and style of a `TinyGPT`, or of a `LoopedGPT` where `loops` is at least 1.

    Args:
        vocab: number of symbols V.
        ctx: longest sequence; positions are learned.
        d: width.
        heads: attention heads; they divide the width.
        n_blocks: blocks in depth, L; of a looped model the blocks of one turn of the loop.
        norm: "pre" x + F(LN x); "post" LN(x + F x); "peri" x + LN(F(LN x)); "none" x + F x.
        final_ln: a LayerNorm before the read-out; None means as the style has it: all but "post".
        residual_scale: factor on the weights of the projections that write into the residual stream, at the start.
            "rezero" multiplies each branch with a learned number instead, which starts at 0.
        ln_scaling: multiply what leaves the norms of block l = 1 … L by 1/√l (LayerNorm scaling), "pre" only.
        tied_depth: all blocks are one and the same.
        attn: "dot"; "l2", globally Lipschitz; or "cosine".
        init_std: standard deviation of all matrices and embeddings at the start; None means 1/√fan_in for matrices
            (unit gain) and 1 for embeddings.
        loops: turns of the loop a looped model is trained with, at most; 0 for a model without a loop.
        injection: a looped model sees its input again in every turn.
        lam: certified Lipschitz constant of one turn of the loop, in (0, 1); the turn is then
            z <- tanh(W z + U x + b) with |W| <= lam. None leaves the turn an unconstrained transformer block.
        prelude: blocks of a looped model before its loop, not repeated.

    Raises:
        ValueError: naming the setting, its value and what is allowed.

    Example:
        >>> GPTConfig(vocab=65, ctx=32, d=48, heads=4, n_blocks=4).n_params
        117840
    """

    vocab: int = 65
    ctx: int = 32
    d: int = 48
    heads: int = 4
    n_blocks: int = 4
    norm: Norm = "pre"
    final_ln: bool | None = None
    residual_scale: ResidualScale = "1/sqrt(2L)"
    ln_scaling: bool = False
    tied_depth: bool = False
    attn: Attention = "dot"
    init_std: float | None = 0.02
    loops: int = 0
    injection: bool = True
    lam: float | None = None
    prelude: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab", "ctx", "d", "heads", "n_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d % self.heads:
            raise ValueError(f"heads must divide the width d = {self.d}, got {self.heads}")
        for name, allowed in (("norm", Norm), ("residual_scale", ResidualScale), ("attn", Attention)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(allowed))}, got {getattr(self, name)!r}"
                )
        if self.init_std is not None and not self.init_std > 0:
            raise ValueError(f"init_std must be positive or None, got {self.init_std}")
        if self.ln_scaling and (self.norm != "pre" or self.tied_depth or self.loops):
            raise ValueError(
                "ln_scaling needs norm 'pre' and untied blocks without a loop: its factor depends on the depth, got "
                f"norm {self.norm!r}, tied_depth {self.tied_depth}, loops {self.loops}"
            )
        self._check_loop()

    def _check_loop(self) -> None:
        for name in ("loops", "prelude"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.lam is not None and not 0 < self.lam < 1:
            raise ValueError(f"lam must lie in (0, 1) or be None, got {self.lam}")
        if self.lam is not None and self.n_blocks != 1:
            raise ValueError(
                f"lam makes one turn of the loop one block: n_blocks must be 1, got {self.n_blocks}"
            )
        if not self.loops and (self.prelude or self.lam is not None):
            raise ValueError(
                f"prelude and lam are for looped models, got prelude {self.prelude} and lam {self.lam}: set loops"
            )

    @property
    def has_final_ln(self) -> bool:
        """Whether a LayerNorm stands before the read-out."""
        return self.norm != "post" if self.final_ln is None else self.final_ln

    @property
    def depth(self) -> int:
        """Blocks that a token passes through: L, or prelude + loops L."""
        return self.prelude + self.n_blocks * max(1, self.loops)

    @property
    def branch_factor(self) -> float:
        """The number that `residual_scale` stands for (1 for "rezero", whose factor is learned)."""
        factors = {"1/sqrt(2L)": 1 / math.sqrt(2 * self.depth), "1/L": 1 / self.depth}
        return factors.get(self.residual_scale, 1.0)

    @property
    def n_params(self) -> int:
        """Parameters of the `TinyGPT`: V d + ctx d + L (12 d² + 13 d) [+ 2 d], for dot-product attention
        and pre-norm."""
        norms = {"pre": 4, "post": 4, "peri": 8, "none": 0}[self.norm] * self.d
        gates = 2 if self.residual_scale == "rezero" else 0
        attention = 3 * self.d**2 + self.d if self.attn == "l2" else 4 * (self.d**2 + self.d)
        block = attention + 8 * self.d**2 + 5 * self.d + norms + gates
        count = 1 if self.tied_depth else self.n_blocks
        return (self.vocab + self.ctx) * self.d + count * block + 2 * self.d * self.has_final_ln

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values; `GPTConfig(**settings)` gives the same again."""
        return dataclasses.asdict(self)


def gpt1_style(**sizes: Any) -> GPTConfig:
    """Post-LN, no norm before the read-out, branches at full size.

    Example:
        >>> gpt1_style(n_blocks=16).n_params
        457008
    """
    return GPTConfig(**{"norm": "post", "residual_scale": "1", **sizes})


def gpt2_style(**sizes: Any) -> GPTConfig:
    """Pre-LN, a norm before the read-out, branches that start at 1/√(2L).

    Example:
        >>> gpt2_style(n_blocks=16).n_params
        457104
    """
    return GPTConfig(**{"norm": "pre", "residual_scale": "1/sqrt(2L)", **sizes})
