"""The LightningModule: trains any network of the package by the recipe of §5 and says whether its solves converge (10.1)."""

import lightning
from torch import Tensor, nn


class LitChannelEstimator(lightning.LightningModule):
    """Trains a channel estimator on its normalised error.

    Args:
        model: a network of `icenet.estimators`.
        lr: peak learning rate.
        loss: "nmse", "mse" or "huber".
        jac_reg: weight γ_J of the Jacobian regulariser (models with an implicit layer).
        jac_share: share of the steps it is applied in.
    """

    monitor = ("val/nmse_db", "min")

    def __init__(
        self, model: nn.Module, lr: float = 1e-3, loss: str = "nmse", jac_reg: float = 0.0, jac_share: float = 1.0
    ):
        super().__init__()
        self.model = model

    def forward(self, ls: Tensor, noise_var: Tensor | None = None) -> Tensor:
        return self.model(ls, noise_var)
