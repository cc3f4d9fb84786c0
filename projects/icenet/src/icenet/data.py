"""Slots to train, validate and test on: simulated afresh for every step, or read from shards (§5, §6).

A batch is a dictionary of tensors: `ls` complex (b, k_p, s_p), `h` complex (b, k, s), `noise_var`, `snr_db`,
`doppler_hz`, each (b,).
"""

from collections.abc import Sequence

import lightning
from torch import Tensor

Batch = dict[str, Tensor]


class OnTheFlyDataModule(lightning.LightningDataModule):
    """Fresh slots at every training step; fixed slots, a set at each SNR, for validation and test.

    Args:
        numerology: name of the grid and its pilots.
        profile: name of a delay profile, or several: a mixture, each slot drawn from one of them.
        doppler: range of the maximum Doppler shift in Hz, uniform.
        delay_spread_ns: for scalable profiles.
        snr_db: range of the training SNR in dB, uniform.
        batch_size: slots a step.
        steps: steps between validations, what Lightning calls an epoch.
        eval_snr_db: SNRs of validation and test.
        n_val: validation slots at each SNR.
        n_test: test slots at each SNR.
        seed: of the slots; not of the weights.
    """

    def __init__(
        self,
        numerology: str = "nr_v2x_15",
        profile: str | Sequence[str] = "EVA",
        doppler: tuple[float, float] = (0.0, 1000.0),
        delay_spread_ns: float | None = None,
        snr_db: tuple[float, float] = (0.0, 25.0),
        batch_size: int = 128,
        steps: int = 100,
        eval_snr_db: Sequence[float] = (0, 5, 10, 15, 20, 25),
        n_val: int = 256,
        n_test: int = 2000,
        seed: int = 0,
    ):
        super().__init__()
