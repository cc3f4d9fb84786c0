"""The solvers of torchdeq behind our interface, `SolverConfig(backend="torchdeq")`: a second opinion.

torchdeq iterates until the worst sample of the batch is done and reports the step of the lowest residual as its count; here
first hits are read from its trace. Its Anderson does not report the residuals of its first two evaluations: they are NaN.
"""

import importlib.util
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .solvers import SolverConfig, SolverDivergedError, SolveResult


def solve_with_torchdeq(
    f: Callable[[Tensor], Tensor],
    z0: Float[Tensor, "b ..."],
    config: SolverConfig,
    limits: Float[Tensor, "b"],
    tau: int,
) -> SolveResult:
    """See `solve`: the tightest of the limits decides when the batch stops; λ is absolute.

    Raises:
        ModuleNotFoundError: torchdeq is not installed.
    """
    if importlib.util.find_spec("torchdeq") is None:
        raise ModuleNotFoundError(
            "backend='torchdeq' needs torchdeq: install icenet[torchdeq], or use backend='native'"
        )
    from torchdeq.solver import get_solver

    anderson = config.method == "anderson"
    if anderson and tau < 3:
        raise ValueError(f"tau must be at least 3 for torchdeq's Anderson, got {tau}")
    calls = 0

    def counted(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return f(z)

    solver = get_solver("anderson" if anderson else "fixed_point_iter")
    z, _, info = solver(
        counted, z0, max_iter=tau, tol=float(limits.min()), stop_mode="rel", m=config.m, lam=config.lam, tau=config.beta
    )  # fmt: skip
    recorded = info["rel_trace"][
        :, 1 : 1 + calls - 2 * anderson
    ]  # entry 0 is a place holder, the rest repeats the best
    blank = recorded.new_full((len(z0), 2 * anderson), torch.nan)
    trace = torch.cat((blank, recorded), 1)
    bad = ~torch.isfinite(recorded).all(1)
    if config.on_diverge == "raise" and bool(bad.any()):
        step = int((~torch.isfinite(recorded)).any(0).int().argmax()) + 1 + 2 * anderson
        raise SolverDivergedError(step, bad.nonzero()[:, 0].tolist())
    hits = trace < limits[:, None]
    converged = hits.any(1)
    nfe = torch.where(converged, hits.int().argmax(1) + 1, tau)
    zeros = torch.zeros_like(nfe)
    return SolveResult(z, info["rel_lowest"], nfe, converged, trace, calls, calls * len(z0), zeros, zeros)
