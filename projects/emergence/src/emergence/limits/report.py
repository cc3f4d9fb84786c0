"""What `classify_block` found, with the measurements it judged by."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .evidence import OrbitEvidence

if TYPE_CHECKING:
    from tenfold.claims import Figure


@dataclass(frozen=True)
class BlockReport:
    """The verdict on a block.

    Args:
        regime: "contractive" (ρ < 1), "critical" (ρ = 1 within the band), "expansive" (ρ > 1) or "inconclusive".
        limit_exists: whether Tⁿx converges; None where the orbits do not tell.
        rho: ρ(T) as seen on the orbits.
        rho_interval: 95 % bootstrap interval of it.
        lip_lower: largest ratio or Jacobian norm seen; Lip(T) is at least that.
        lip_upper: upper bound by composition, or as given; infinite where there is none.
        retention: mean distance of the orbits after the last step, over that of the starts.
        rate: factor by which the steps ‖Tⁿx − Tⁿ⁻¹x‖ shrink; NaN where they vanish at once.
        injected: whether the input enters at every application.
        evidence: the orbits, to judge anew.
    """

    regime: Literal["contractive", "critical", "expansive", "inconclusive"]
    limit_exists: bool | None
    rho: float
    rho_interval: tuple[float, float]
    lip_lower: float
    lip_upper: float
    retention: float
    rate: float
    injected: bool
    evidence: OrbitEvidence = field(repr=False)

    @property
    def trivial_limit(self) -> bool:
        """The limit exists and is the same for every input: all is forgotten (T6 of §3.2)."""
        return self.regime == "contractive" and not self.injected

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        words: str = self.regime
        if self.regime == "contractive" and self.lip_lower > 1:
            words = "contractive (ρ < 1, Lip > 1)"
        limit = {True: "limit exists", False: "no limit", None: "limit undecided"}[self.limit_exists]
        upper = "no upper bound" if math.isinf(self.lip_upper) else f"at most {self.lip_upper:.4g}"
        text = (
            f"{words}, {limit}; ρ = {self.rho:.4f} [{self.rho_interval[0]:.4f}, {self.rho_interval[1]:.4f}], "
            f"Lip at least {self.lip_lower:.4g}, {upper}; retention {self.retention:.3g}"
        )
        if self.trivial_limit:
            text += "; the limit is one point for every input: inject the input, or bring Lip to 1"
        return text

    def plot(self, name: str = "block") -> "Figure":
        """Growth of Tⁿ and size of the steps over the number of applications, as a picture (PNG bytes in `.png`).

        Needs matplotlib, of the extra `train`.
        """
        from tenfold.drawing import Labels, Look, curves

        steps = [float(value) for value in self.evidence.deltas.mean(1)]
        lines = {
            "growth of distances, largest": (self.evidence.powers, self.evidence.growth),
            "size of a step, mean": (range(1, len(steps) + 1), steps),
        }
        words = Labels(
            self.summary.split(";")[0], "applications of the block", "ratio; distance", self.summary
        )
        return curves(name, lines, words, Look(log="xy", marker="", guides={"1": 1.0}))
