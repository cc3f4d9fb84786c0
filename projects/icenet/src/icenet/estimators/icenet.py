"""ICENet: one block iterated to equilibrium between an input and an output stage (§3.2).

    u = φ_in(x),    F* = f_θ(F*; u),    ĥ = φ_out(F* + u)

φ_out interpolates from the pilots to the grid on true coordinates (10.4) and refines with one convolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from icenet.implicit.solvers import SolverConfig, SolveResult
from icenet.implicit.tolerance import Tolerance
from icenet.ofdm.config import OFDMConfig

from .base import NetworkEstimator, NoiseVariance


@dataclass(frozen=True)
class ICENetInfo:
    """How the equilibrium of a batch was found.

    Args:
        solve: residuals, first-hit counts, trace, …, see `SolveResult`.
        eps: the tolerance of each sample.
        jacobian: ‖Jᵀ v‖² / dim, with a graph, where the training step drew it; 0 otherwise.
        penalty: what to add to the loss: jac_reg · jacobian.
    """

    solve: SolveResult
    eps: Float[Tensor, "b"]
    jacobian: Float[Tensor, ""]
    penalty: Float[Tensor, ""]

    @property
    def nfe(self) -> Int[Tensor, "b"]:
        return self.solve.nfe

    @property
    def residual(self) -> Float[Tensor, "b"]:
        return self.solve.residual

    @property
    def converged(self) -> Bool[Tensor, "b"]:
        return self.solve.converged

    @property
    def trace(self) -> Float[Tensor, "b iterations"]:
        return self.solve.trace


class ICENet(NetworkEstimator):
    """Adaptive implicit-layer channel estimator.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: C, feature maps.
        input_convs: convolutions of the input stage, 1 or 2.
        cell: "contractive", whose fixed point is unique, or "resnet", which needs `jac_reg` to have one.
        solver: of the forward pass; a `SolverConfig` or a mapping of its fields.
        grad: "ift", "jfb", "phantom:k" or "unroll".
        jac_reg: γ_J, weight of the Jacobian penalty; 0 leaves it out.
        jac_fraction: share of the training steps that draw the penalty, in (0, 1].
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any],
        channels: int = 16,
        cell: str = "contractive",
        solver: SolverConfig | Mapping[str, Any] = SolverConfig(),  # noqa: B008
        grad: str = "ift",
        jac_reg: float = 0.0,
        *,
        input_convs: int = 1,
        jac_fraction: float = 1.0,
    ):
        super().__init__(config)

    @classmethod
    def of_size(cls, size: str, config: OFDMConfig | str, **options: Any) -> "ICENet":
        """ "tiny" (C = 16), "base" (C = 32) or "large" (C = 64) of §4.5."""
        raise NotImplementedError

    def forward(  # type: ignore[override]
        self,
        ls: Complex[Tensor, "b k_p s_p"] | Float[Tensor, "b 2 k_p s_p"],
        noise_var: NoiseVariance = None,
        eps: float | Float[Tensor, "b"] | Tolerance | None = None,
        tau: int | None = None,
        return_info: bool = False,
    ) -> Complex[Tensor, "b k s"] | tuple[Complex[Tensor, "b k s"], ICENetInfo]:
        """The channel; with `return_info` also how the equilibrium was found.

        Args:
            ls: least-squares estimates at the pilots.
            noise_var: σ² of each slot; only tolerances that depend on it need it.
            eps, tau: take the place of the solver's tolerance and cap, without retraining.
            return_info: in training, the loss is then `nmse + info.penalty`.
        """
        raise NotImplementedError

    @property
    def fixed_macs(self) -> int:
        """Multiply-accumulates a slot of the input and output stages."""
        raise NotImplementedError

    @property
    def macs_per_evaluation(self) -> int:
        """Multiply-accumulates a slot of one evaluation of f_θ."""
        raise NotImplementedError

    def macs(self, nfe: float | Float[Tensor, "b"] | Int[Tensor, "b"]) -> float | Float[Tensor, "b"]:
        """Multiply-accumulates a slot at `nfe` evaluations, the solver's own products included."""
        raise NotImplementedError
