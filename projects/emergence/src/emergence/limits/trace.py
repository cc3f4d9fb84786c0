"""What is recorded while a state passes block after block."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DepthTrace:
    """The states A_p x of depth p = 1 … P, seen through distances; norms are those of the flattened sample.

    Args:
        final: A_P x, of the shape of the input.
        order: "forward" (T_P ∘ … ∘ T_1) or "reversed" (T_1 ∘ … ∘ T_P).
        delta: ‖A_p x − A_(p−1) x‖ for p = 1 … P and each sample; None if not recorded.
        residual: ‖T_p(A_p x) − A_p x‖, how far A_p x is from a fixed point of the block p; None if not recorded.
        retention: mean over pairs of samples of ‖A_p x − A_p x'‖, over the same at p = 0; None if not recorded.
    """

    final: Float[Tensor, "b ..."]
    order: str
    delta: Float[Tensor, "p b"] | None = None
    residual: Float[Tensor, "p b"] | None = None
    retention: Float[Tensor, "p"] | None = None

    @property
    def steps(self) -> Float[Tensor, "p b"]:
        """`delta`, which must have been recorded."""
        if self.delta is None:
            raise ValueError('delta was not recorded; iterate with record=("delta", ...)')
        return self.delta

    def rate(self) -> float:
        """The factor by which the mean of `delta` falls a block, over the last half above rounding error.

        Raises:
            ValueError: if delta was not recorded, or reached rounding error within two blocks.
        """
        return geometric_rate(self.steps.double().mean(1), float(self.final.abs().max()), self.final.dtype)

    def to_pandas(self) -> "pd.DataFrame":
        """One row a depth; columns of samples are averaged."""
        import pandas as pd

        named = {"delta": self.delta, "residual": self.residual}
        columns = {
            name: values.double().mean(1).tolist() for name, values in named.items() if values is not None
        }
        if self.retention is not None:
            columns["retention"] = self.retention.tolist()
        n_blocks = len(next(iter(columns.values()), []))
        return pd.DataFrame({"n_blocks": range(1, n_blocks + 1), **columns})


def geometric_rate(sizes: Float[Tensor, "p"], scale: float, dtype: torch.dtype) -> float:
    """exp of the slope of log sizes over the last half of what is above rounding error.

    Args:
        sizes: positive numbers, one a block.
        scale: size of the states the numbers are differences of.
        dtype: precision of these states.

    Example:
        >>> round(geometric_rate(0.5 ** torch.arange(20).double(), 1.0, torch.float64), 6)
        0.5
    """
    usable = sizes.isfinite() & (sizes > 1e3 * torch.finfo(dtype).eps * scale) & (sizes > 0)
    n = int(usable.long().cumprod(0).sum())
    if n < 2:
        raise ValueError(
            f"only {n} of {len(sizes)} differences are above rounding error: no rate can be fitted"
        )
    start = min(n // 2, n - 2)
    steps = torch.arange(start, n, dtype=torch.float64, device=sizes.device)
    logs = sizes[start:n].log()
    steps = steps - steps.mean()
    return float(torch.exp((steps * logs).sum() / steps.square().sum()))
