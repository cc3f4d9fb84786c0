"""The LightningDataModule: training samples at random scales, validation crops, test sets at many scales."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader, Subset

from tenfold.restoration import require_disjoint

from .evaluation import EvaluationSet, evaluation_sets
from .samples import Augmentation, DrawSampler, SRDownsampled
from .sources import Source, training_images


class ASISRData(lightning.LightningDataModule):
    """Arbitrary-scale super-resolution from images at one resolution.

    Args:
        source: "bsds500", "t91", "div2k", "builtin" or "folder"; see `training_images`.
        folder: with source "folder".
        inp_size: side of the low-resolution patches.
        scale_min: smallest scale of training.
        scale_max: largest scale of training.
        sample_q: queries per patch, at most inp_size².
        augment: any of "hflip", "vflip", "transpose", "rot90".
        batch_size: patches a step.
        epoch_length: steps an epoch.
        n_val: images held out for validation; of "div2k", as published, the first ones of the set DIV2K.
        val_draws: crops of them that are compared.
        test_sets: any of Set5, Set14, B100, Urban100, DIV2K, "builtin".
        test_scales: scales at which they are tested.
        partial: accept portions of the test sets.
        min_side: leave out training images with a shorter side.
        cache: keep decoded images in memory (8-bit: BSDS500 185 MB, DIV2K 7 GB).
        num_workers: processes that make samples.
        data_root: the data folder; `tenfold.data.root()` if None.
        seed: of the draws.

    Raises:
        ValueError: for counts below 1; in `setup`, if a training image is also tested on.
        DataNotFoundError: in `setup`, if a data set is missing.

    Example:
        >>> data = ASISRData("builtin", inp_size=8, sample_q=16, test_sets=(), n_val=1)
        >>> data.setup("fit")
        >>> [tuple(x.shape) for x in data.train[0]]
        [(3, 8, 8), (16, 2), (1, 2), (16, 3)]
    """

    def __init__(
        self,
        source: Source = "bsds500",
        folder: str | None = None,
        inp_size: int = 48,
        scale_min: float = 1.0,
        scale_max: float = 4.0,
        sample_q: int = 2304,
        augment: Sequence[Augmentation] = ("hflip", "vflip", "transpose"),
        batch_size: int = 16,
        epoch_length: int = 1000,
        n_val: int = 10,
        val_draws: int = 160,
        test_sets: Sequence[str] = ("Set5", "Set14", "B100"),
        test_scales: Sequence[float] = (2, 3, 4, 6, 8),
        partial: bool = False,
        min_side: int = 1,
        cache: bool = True,
        num_workers: int = 0,
        data_root: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        counts = {
            "batch_size": batch_size,
            "epoch_length": epoch_length,
            "n_val": n_val,
            "val_draws": val_draws,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.source, self.folder, self.n_val, self.val_draws = source, folder, n_val, val_draws
        self.patch: dict[str, Any] = {
            "inp_size": inp_size,
            "scale_min": scale_min,
            "scale_max": scale_max,
            "sample_q": sample_q,
        }
        self.augment, self.batch_size, self.epoch_length = tuple(augment), batch_size, epoch_length
        self.test_sets, self.test_scales, self.partial = tuple(test_sets), tuple(test_scales), partial
        self.min_side, self.cache, self.num_workers = min_side, cache, num_workers
        self.data_root, self.seed = data_root, seed
        self.train: SRDownsampled | None = None
        self.val: SRDownsampled | None = None
        self.tests: dict[str, EvaluationSet] = {}

    @property
    def test_names(self) -> list[str]:
        """Of the test loaders, in their order: "Set5_x2", …"""
        return list(self.tests)

    def setup(self, stage: str | None = None) -> None:
        self.tests = evaluation_sets(self.test_sets, self.test_scales, self.data_root, self.partial)
        if stage in ("test", "predict"):
            return
        train, val = training_images(
            self.source,
            self.n_val,
            root=self.data_root,
            folder=self.folder,
            min_side=self.min_side,
            cache=self.cache,
        )
        tested: set[Path] = {file for images in self.tests.values() for file in images.files}
        require_disjoint(train.files, tested)
        self.train = SRDownsampled(train, **self.patch, augment=self.augment, seed=self.seed)
        self.val = SRDownsampled(val, **self.patch, augment=(), seed=self.seed + 1)

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.train is not None
        trainer = self.trainer
        sampler = DrawSampler(
            self.epoch_length * self.batch_size, lambda: trainer.current_epoch if trainer is not None else 0
        )
        return DataLoader(
            self.train, batch_size=self.batch_size, sampler=sampler, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.val is not None
        draws = Subset(self.val, range(self.val_draws))
        return DataLoader(draws, batch_size=self.batch_size, num_workers=self.num_workers)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [
            DataLoader(images, batch_size=None, collate_fn=_as_they_are) for images in self.tests.values()
        ]

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        return self.test_dataloader()


def _as_they_are(pair: Any) -> tuple[Any, Any]:
    return pair.lr.unsqueeze(0), pair.hr.unsqueeze(0)
