"""ICENet: one block iterated to equilibrium between an input and an output stage (§3.2).

    u = φ_in(x),    F* = f_θ(F*; u),    ĥ = φ_out(F* + u)

φ_out interpolates from the pilots to the grid on true coordinates (10.4) and refines with one convolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from icenet.implicit.jacobian import jacobian_penalty, spectral_radius
from icenet.implicit.layer import BACKWARD, FORWARD, ImplicitLayer, solver_config, solver_fields
from icenet.implicit.precision import full_precision
from icenet.implicit.solvers import Measure, SolverConfig, SolveResult, sample_limits
from icenet.implicit.tolerance import Tolerance
from icenet.ofdm.config import OFDMConfig

from .base import (
    NetworkEstimator,
    NoiseVariance,
    check_ls,
    noise_variances,
    plain_config,
    to_complex,
    to_planes,
)
from .cells import make_cell
from .stages import InputStage, OutputStage

Eps = float | Float[Tensor, "b"] | Tolerance | None
"""A tolerance for all slots, one a slot, a strategy, or None for the solver's own."""

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"channels": 16, "input_convs": 1},
    "base": {"channels": 32, "input_convs": 2},
    "large": {"channels": 64, "input_convs": 2},
}


@dataclass(frozen=True)
class ICENetInfo:
    """How the equilibrium of a batch was found.

    Args:
        solve: residuals, first-hit counts, trace, …, see `SolveResult`.
        eps: the tolerance of each slot.
        jacobian: ‖Jᵀ v‖² / dim, with a graph, where the training step drew it; 0 otherwise.
        penalty: what to add to the loss: jac_reg · jacobian.
    """

    solve: SolveResult
    eps: Float[Tensor, "b"]
    jacobian: Float[Tensor, ""]
    penalty: Float[Tensor, ""]

    @property
    def nfe(self) -> Int[Tensor, "b"]:
        """Evaluations of f_θ up to the first hit."""
        return self.solve.nfe

    @property
    def residual(self) -> Float[Tensor, "b"]:
        return self.solve.residual

    @property
    def converged(self) -> Bool[Tensor, "b"]:
        return self.solve.converged

    @property
    def trace(self) -> Float[Tensor, "b iterations"]:
        """Residual after each evaluation, NaN once a slot is done."""
        return self.solve.trace


class ICENet(NetworkEstimator):
    """Adaptive implicit-layer channel estimator.

    Args:
        config: the grid and its pilots, or the name of a numerology.
        channels: C, feature maps.
        cell: "contractive", whose fixed point is unique, or "resnet", which needs `jac_reg` to have one.
        solver: of the forward pass; a `SolverConfig` or a mapping of its fields.
        grad: "ift", "jfb", "phantom:k" or "unroll".
        jac_reg: γ_J, weight of the Jacobian penalty; 0 leaves it out.
        input_convs: convolutions of the input stage, 1 or 2.
        jac_fraction: share of the training steps that draw the penalty, in (0, 1].
        backward: solver of the adjoint fixed point, for grad="ift".
        gamma: contraction factor of the contractive cell; None learns it.

    Example:
        >>> model = ICENet("nr_v2x_15").eval()
        >>> ls = torch.randn(2, 36, 4, dtype=torch.complex64)
        >>> h, info = model(ls, eps=1e-2, return_info=True)
        >>> h.shape, bool(info.converged.all())
        (torch.Size([2, 72, 14]), True)
        >>> coarse, info = model(ls, tau=2, return_info=True)  # the same weights, two evaluations
        >>> info.nfe
        tensor([2, 2])
    """

    def __init__(
        self,
        config: OFDMConfig | str | Mapping[str, Any],
        channels: int = 16,
        cell: str = "contractive",
        solver: SolverConfig | Mapping[str, Any] = FORWARD,
        grad: str = "ift",
        jac_reg: float = 0.0,
        *,
        input_convs: int = 1,
        jac_fraction: float = 1.0,
        backward: SolverConfig | Mapping[str, Any] = BACKWARD,
        gamma: float | None = None,
    ):
        super().__init__(config)
        if jac_reg < 0:
            raise ValueError(f"jac_reg must not be negative, got {jac_reg}")
        if not 0 < jac_fraction <= 1:
            raise ValueError(f"jac_fraction must be in (0, 1], got {jac_fraction}")
        if gamma is not None and cell != "contractive":
            raise ValueError(f"gamma belongs to cell='contractive', got cell={cell!r}: leave it out")
        solver, backward = solver_config(solver), solver_config(backward)
        self.config = {
            "config": plain_config(self.ofdm), "channels": channels, "cell": cell, "solver": solver_fields(solver),
            "grad": grad, "jac_reg": jac_reg, "input_convs": input_convs, "jac_fraction": jac_fraction,
            "backward": solver_fields(backward), "gamma": gamma,
        }  # fmt: skip
        self.jac_reg, self.jac_fraction = jac_reg, jac_fraction
        block = make_cell(cell, channels, self.ofdm.pilots.shape[::-1], **({"gamma": gamma} if gamma else {}))
        self.input = InputStage(self.ofdm, channels, input_convs)
        self.layer = ImplicitLayer(block, solver, grad, backward)
        self.output = OutputStage(self.ofdm, channels)

    @classmethod
    def of_size(cls, size: str, config: OFDMConfig | str, **options: Any) -> "ICENet":
        """The sizes "tiny" (C = 16), "base" (C = 32) and "large" (C = 64) of §4.5."""
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(map(repr, SIZES))}, got {size!r}")
        return cls(config, **{**SIZES[size], **options})

    def forward(  # type: ignore[override]
        self,
        ls: Complex[Tensor, "b k_p s_p"] | Float[Tensor, "b 2 k_p s_p"],
        noise_var: NoiseVariance = None,
        eps: Eps = None,
        tau: int | None = None,
        return_info: bool = False,
    ) -> Complex[Tensor, "b k s"] | tuple[Complex[Tensor, "b k s"], ICENetInfo]:
        """The channel; with `return_info` also how the equilibrium was found.

        Args:
            ls: least-squares estimates at the pilots.
            noise_var: σ² of each slot; only tolerances that depend on it need it.
            eps, tau: take the place of the solver's tolerance and cap, without retraining.
            return_info: in training, the loss is then `nmse + info.penalty`.

        Raises:
            SolverDivergedError: a residual is not finite and the solver's `on_diverge` is "raise".
        """
        ls = check_ls(ls, self.ofdm)
        u = self._features(ls)
        limits, measure = self._stop(eps, noise_var, ls, u)
        features, result = self.layer(u, eps=limits, tau=tau, measure=measure)
        h = to_complex(self.output(features + u))
        if not return_info:
            return h
        jacobian = self._draw_penalty(u, result)
        return h, ICENetInfo(result, limits, jacobian, self.jac_reg * jacobian)

    def _features(self, ls: Complex[Tensor, "b k_p s_p"]) -> Float[Tensor, "b c s_p k_p"]:
        """u; the equilibrium is computed in single precision whatever the stages run in."""
        u = self.input(to_planes(ls))
        return u.float() if u.dtype in (torch.bfloat16, torch.float16) else u

    def _stop(
        self, eps: Eps, noise_var: NoiseVariance, ls: Tensor, u: Tensor
    ) -> tuple[Float[Tensor, "b"], Measure | None]:
        """The limit of each slot, and what is compared with it if not the residual of the features."""
        if not callable(eps):
            return sample_limits(self.layer.config.eps if eps is None else eps, u), None
        noise = None if noise_var is None else noise_variances(noise_var, ls)
        limits = sample_limits(eps(noise, len(ls)), u)
        if eps.domain == "channel":
            return limits, self._channel_change(u.detach())
        return limits, None

    def _channel_change(self, u: Float[Tensor, "b c s_p k_p"]) -> Measure:
        """‖ĥ(f(X)) - ĥ(X)‖ / ‖ĥ(f(X))‖."""

        def measure(fx: Tensor, x: Tensor, rows: Tensor) -> Tensor:
            after, before = (self.output(z + u[rows]).flatten(1) for z in (fx, x))
            floor = torch.finfo(after.dtype).tiny
            return (after - before).norm(dim=1) / after.norm(dim=1).clamp(min=floor)

        return measure

    def _draw_penalty(self, u: Tensor, result: SolveResult) -> Float[Tensor, ""]:
        wanted = self.training and torch.is_grad_enabled() and self.jac_reg > 0
        if not wanted or (self.jac_fraction < 1 and float(torch.rand(())) >= self.jac_fraction):
            return u.new_zeros(())
        with full_precision(u.device):
            return jacobian_penalty(self.layer.bind(u), result.z)

    @torch.no_grad()
    def spectral_radius(
        self, ls: Complex[Tensor, "b k_p s_p"], iterations: int = 60, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b"]:
        """ρ(J) of each slot at the equilibrium that the solver finds, by power iteration."""
        u = self._features(check_ls(ls, self.ofdm))
        _, result = self.layer(u)
        return spectral_radius(self.layer.bind(u), result.z, iterations, generator)

    @property
    def fixed_macs(self) -> int:
        """Multiply-accumulates a slot of the input and output stages."""
        return self.input.macs + self.output.macs

    @property
    def macs_per_evaluation(self) -> int:
        """Multiply-accumulates a slot of one evaluation of f_θ."""
        return self.layer.f.macs_per_evaluation  # type: ignore[return-value, union-attr]

    def macs(self, nfe: float | Float[Tensor, "b"] | Int[Tensor, "b"]) -> float | Float[Tensor, "b"]:
        """Multiply-accumulates a slot at `nfe` evaluations, residual norms and the solver's own products included."""
        solver = self.layer.config
        size = self.input.first.out_channels * self.ofdm.pilots.shape[0] * self.ofdm.pilots.shape[1]
        n = torch.as_tensor(nfe, dtype=torch.float64)
        steps = (n - 1).clamp(min=0)
        vectors = 2 * n  # the norms of the residual
        if (
            solver.method == "anderson"
        ):  # min(k, m) products of GGᵀ, and as many mixed from the second step on
            early = steps.clamp(max=solver.m)
            vectors = vectors + early * (early + 1) - steps.clamp(max=1) + 2 * solver.m * (steps - early)
        elif solver.method == "broyden":  # three applications of at most k updates, two products each
            vectors = vectors + 3 * steps * (steps - 1).clamp(min=0)
        total = self.fixed_macs + n * self.macs_per_evaluation + vectors * size
        return total if isinstance(nfe, Tensor) else float(total)
