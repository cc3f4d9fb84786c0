"""Full-batch L-BFGS for symbolic regression, with the safety nets that generated weights need (pitfall P16).

L-BFGS on a MetaKAN can run into a non-finite loss: the line search then leaves NaN in the parameters. A fit therefore
remembers its best state, stops at the first non-finite loss, restores the best state and says so in its report.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class FitReport:
    """How a fit ended.

    Args:
        loss: loss of the state the model is left in, the best one seen at the end of an epoch.
        epochs: outer epochs that were finished.
        evaluations: how often the loss and its gradient were computed.
        non_finite_epoch: the epoch whose loss was not finite and ended the fit; None if all were finite.
    """

    loss: float
    epochs: int
    evaluations: int
    non_finite_epoch: int | None

    @property
    def finite(self) -> bool:
        return self.non_finite_epoch is None


def make_lbfgs(model: nn.Module, iterations: int = 20) -> torch.optim.LBFGS:
    """L-BFGS with the settings of §5.3: lr 1, history 10, strong Wolfe, tolerances 1e-32."""
    return torch.optim.LBFGS(
        [p for p in model.parameters() if p.requires_grad],
        lr=1.0,
        max_iter=iterations,
        history_size=10,
        tolerance_grad=1e-32,
        tolerance_change=1e-32,
        line_search_fn="strong_wolfe",
    )


class BestState:
    """The parameters with the lowest finite loss so far.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> best = BestState(model)
        >>> best.offer(0.5), best.offer(float("nan")), best.offer(0.4), best.offer(0.6)
        (True, False, True, True)
        >>> best.loss
        0.4
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.loss = math.inf
        self.state = self._copy()

    def offer(self, loss: float) -> bool:
        """Keep the present parameters if `loss` is the lowest so far; False if it is not finite."""
        if math.isfinite(loss) and loss < self.loss:
            self.loss, self.state = loss, self._copy()
        return math.isfinite(loss)

    def restore(self) -> None:
        self.model.load_state_dict(self.state)

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def fit_lbfgs(
    model: nn.Module, loss: Callable[[], Float[Tensor, ""]], *, epochs: int = 100, iterations: int = 20
) -> FitReport:
    """Minimise a deterministic full-batch loss of `model` by L-BFGS and leave the model in its best state.

    Args:
        model: its parameters that require a gradient are fitted; use `.double()` for float64.
        loss: computes the loss anew from the model's present parameters.
        epochs: outer epochs of at most `iterations` L-BFGS iterations each.
        iterations: inner iterations an epoch.

    Raises:
        ValueError: if the loss is not finite before the first step, or epochs < 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    optimizer = make_lbfgs(model, iterations)
    best = BestState(model)
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    start = float(closure())
    if not best.offer(start):
        raise ValueError(
            f"the loss is {start} before the first step: check the data and the initial parameters"
        )
    non_finite = None
    finished = 0
    for epoch in range(epochs):
        optimizer.step(closure)
        with torch.no_grad():
            value = float(loss())
        if not best.offer(value):
            non_finite = epoch
            break
        finished += 1
    best.restore()
    return FitReport(best.loss, finished, evaluations, non_finite)
