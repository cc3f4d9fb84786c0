"""What every training run has besides Lightning's own: exact resumption, and a stop at the first NaN.

**Resumption.** A checkpoint `last.ckpt` is written between two epochs, when nothing is half done: after the
validation, the learning-rate schedulers and the logging of an epoch, before the next one. A run that is killed starts
the epoch it was in again. What an epoch draws at random depends on the seed and the number of the epoch alone
(`EpochSeeds`), so the epochs after a resumption are those of a run that was never killed.

**Several processes.** The order of the training data is the one of PyTorch's DistributedSampler,
`randperm(seed + epoch)`, with one process too. Process r of n takes every n-th index, so the k-th batches of size B/n
are together the k-th batch of size B of a single process, and the averaged gradient is the same.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from .metrics_log import MetricsLog


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is NaN or infinite; the message names the step and the tensor."""


class StopAtNonFinite(Callback):
    """Stops training at the first loss or gradient that is not finite, before it reaches the weights.

    Raises:
        NonFiniteError: naming the step, the tensor, and which inputs and parameters are not finite.
    """

    def __init__(self) -> None:
        self._batch: Any = None
        self._batch_idx = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._batch, self._batch_idx = batch, batch_idx

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._batch = None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not _finite(loss):
            raise NonFiniteError(self._report(trainer, pl_module, f"the loss is {_value(loss)}"))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # float16 with loss scaling: the scaler looks for overflows itself, and skips the step
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        if not gradients or _finite(torch.nn.utils.get_total_norm(gradients.values())):
            return
        bad = [name for name, gradient in gradients.items() if not _finite(gradient)]
        if bad:  # else only the norm overflowed
            names = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
            raise NonFiniteError(self._report(trainer, pl_module, f"the gradient of {names} is not finite"))

    def _report(self, trainer: Trainer, pl_module: LightningModule, what: str) -> str:
        inputs = [name for name, tensor in _named_tensors(self._batch, "batch") if not _finite(tensor)]
        weights = [name for name, tensor in pl_module.named_parameters() if not _finite(tensor)]
        return (
            f"{what} at step {trainer.global_step} (epoch {trainer.current_epoch}, batch {self._batch_idx}); "
            f"not finite in the input: {', '.join(inputs) or 'nothing'}; "
            f"in the parameters: {', '.join(weights) or 'nothing'}"
        )


class EpochSeeds(Callback):
    """Makes everything random in an epoch a function of the seed, the epoch and the process.

    Seeds Python, NumPy and PyTorch, the shuffling of the training data, and the workers of the DataLoaders. Workers
    that live on between epochs (`persistent_workers=True`) keep their own state: random augmentation in them is not
    repeated exactly after a resumption.

    Args:
        seed: the seed of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self._begun = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begun = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        loaders = [loader for loader in fetcher.combined_loader.flattened if isinstance(loader, DataLoader)]
        fresh = False
        for loader in loaders:
            fresh |= _shuffle_by_epoch(loader, self.seed, epoch)
            loader.generator = torch.Generator().manual_seed(_mix(self.seed, epoch, trainer.global_rank, 1))
        # Lightning makes the iterator of an epoch after this hook, except for the first epoch of a process: that one
        # was made before the epoch was known, and workers have fetched from it in the wrong order.
        made_later = epoch > 0 and not trainer.fit_loop.is_resuming
        if (fresh or not self._begun) and not made_later:
            iter(fetcher)
        self._begun = True
        seed_all(_mix(self.seed, epoch, trainer.global_rank, 0))


class RunCheckpoint(Callback):
    """Writes `last.ckpt` between epochs and at the end, with everything needed to go on exactly.

    Args:
        folder: the folder of the checkpoints.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._between = False
        self._rows: int | None = None

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self.folder / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._rows is not None:
            for log in _logs(trainer):
                log.truncate(self._rows)
        if trainer.fit_loop.restarting and _nothing_half_done(trainer):
            # With max_steps set, Lightning takes every restart for one inside an epoch, and skips the rest of it;
            # ours begins a whole one. The setter of FitLoop.restarting would turn False into True again.
            trainer.fit_loop._restarting = False
            trainer.fit_loop.epoch_loop.restarting = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch > 0 and not trainer.fit_loop.is_resuming:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._between:  # the next epoch was counted as ready; it is not begun
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["ready"] = progress["started"] = progress["processed"] = progress["completed"]

    def state_dict(self) -> dict[str, Any]:
        return {} if self._rows is None else {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = state_dict.get("rows")

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:
            return
        for log in _logs(trainer):
            log.save()
            self._rows = log.rows
        self._between = True
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        finally:
            self._between = False


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (code that draws from the global generator must be reproducible too)
    torch.manual_seed(seed)


def _mix(*parts: int) -> int:
    """A seed of 63 bits that differs in all its bits when one of the parts differs."""
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0] >> 1)


def _shuffle_by_epoch(loader: DataLoader, seed: int, epoch: int) -> bool:
    """Let a random sampler draw the permutation of DistributedSampler: `randperm` of a generator with seed + epoch.

    Returns whether the sampler was not prepared before. Lightning calls `set_epoch` at the start of every epoch.
    """
    sampler = loader.sampler
    if not isinstance(sampler, RandomSampler) or hasattr(sampler, "set_epoch"):
        return False
    generator = torch.Generator()

    def set_epoch(epoch: int) -> None:
        generator.manual_seed(seed + epoch)

    set_epoch(epoch)
    sampler.generator = generator
    sampler.set_epoch = set_epoch  # type: ignore[attr-defined]
    return True


def _nothing_half_done(trainer: Trainer) -> bool:
    progress = trainer.fit_loop.epoch_progress.total
    return progress.ready == progress.started == progress.processed == progress.completed


def _logs(trainer: Trainer) -> list[MetricsLog]:
    return [log for log in trainer.loggers if isinstance(log, MetricsLog)]


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _value(loss: Tensor) -> str:
    return f"{float(loss)}" if loss.numel() == 1 else "not finite"


def _named_tensors(value: Any, name: str) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _named_tensors(item, f"{name}[{key!r}]")]
    if isinstance(value, list | tuple):
        return [found for i, item in enumerate(value) for found in _named_tensors(item, f"{name}[{i}]")]
    return []
