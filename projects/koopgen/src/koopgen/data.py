"""LightningDataModule of trajectories: windows to train on, whole trajectories to validate and test on (§5, §6)."""

from collections.abc import Sequence
from typing import Any, Self

import lightning
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .systems import cached_trajectories, get_system
from .trajectories import TrajectorySet, WindowStart


class WindowDataset(Dataset[Float[Tensor, "T n_x"]]):
    """One window of each trajectory in an epoch; with random starts another one in each epoch.

    Args:
        data: the trajectories.
        length: samples in a window.
        start: "random" or "first".
        repeats: windows of each trajectory in an epoch.

    Example:
        >>> data = TrajectorySet(torch.zeros(5, 20, 2), dt=0.1)
        >>> len(WindowDataset(data, length=8, repeats=2)), WindowDataset(data, length=8)[0].shape
        (10, torch.Size([8, 2]))
    """

    def __init__(self, data: TrajectorySet, length: int, start: WindowStart = "random", repeats: int = 1):
        if repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {repeats}")
        data.windows(length, start)  # an error now rather than in the first step
        self.data, self.length, self.start, self.repeats = data, length, start, repeats

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def __getitem__(self, index: int) -> Float[Tensor, "T n_x"]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Float[Tensor, "B T n_x"]:
        # Random starts come from torch's global generator, which a run seeds anew in each epoch.
        return self.data.windows(self.length, self.start, index=torch.as_tensor(indices) % len(self.data))


class TrajectoryDataModule(lightning.LightningDataModule):
    """Trajectories of a system, or of a file, split by trajectory into 70 % training, 10 % validation, 20 % test.

    Training batches are windows (B, window, n_x); validation and test batches are trajectories from their first sample
    on, (B, horizon, n_x). All are in physical units: the model's scaler normalises.

    Args:
        system: a name in `koopgen.systems.SYSTEMS`.
        n: trajectories in all.
        steps: sampling intervals of a trajectory.
        window: samples of a training window (T).
        start: "random", or "first" for the recipe of §5.
        windows_per_epoch: windows of each training trajectory in an epoch.
        batch_size: windows a step.
        eval_batch_size: trajectories at once in validation and test.
        horizon: samples of a validation or test trajectory; all if None.
        train: share of the trajectories for training.
        val: share for validation; the rest is for testing.
        seed: of the initial conditions, not of the training.
        options: parameters of the system that differ from the preset.
        file: an `.npz` file of `TrajectorySet.save` instead of a generated set; `n`, `steps`, `seed` and `options`
            are not used then.
        cache: keep generated sets in the user's cache folder; False generates them in memory each time.

    Example:
        >>> data = TrajectoryDataModule("pendulum", n=20, steps=40, window=10, cache=False)
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).shape, next(iter(data.test_dataloader())).shape
        (torch.Size([14, 10, 2]), torch.Size([4, 41, 2]))
    """

    def __init__(
        self,
        system: str = "lorenz63",
        n: int = 4000,
        steps: int = 1000,
        window: int = 30,
        start: WindowStart = "random",
        windows_per_epoch: int = 1,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        horizon: int | None = None,
        train: float = 0.7,
        val: float = 0.1,
        seed: int = 0,
        options: dict[str, Any] | None = None,
        file: str | None = None,
        cache: bool = True,
    ):
        super().__init__()
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if horizon is not None and horizon < 2:
            raise ValueError(f"horizon must be at least 2 samples, got {horizon}")
        self.system = get_system(system, **(options or {}))
        self.n, self.steps, self.seed, self.file, self.cache = n, steps, seed, file, cache
        self.window, self.start, self.windows_per_epoch = window, start, windows_per_epoch
        self.batch_size, self.eval_batch_size, self.horizon = batch_size, eval_batch_size, horizon
        self.shares = (train, val)
        self.parts: dict[str, TrajectorySet] = {}
        self._given: TrajectorySet | None = None

    @classmethod
    def from_trajectories(cls, data: TrajectorySet, **options: Any) -> Self:
        """A data module of trajectories in memory; `options` are those of the constructor."""
        module = cls(**options)
        module._given = data
        return module

    def prepare_data(self) -> None:
        """Write the cached file once, before other processes read it."""
        if self.cache and self.file is None and self._given is None:
            cached_trajectories(self.system, self.n, self.steps, self.seed)

    def setup(self, stage: str | None = None) -> None:
        """Generate or read the set, and split it."""
        if self.parts:
            return
        data = self._load()
        horizon = data.lengths.min() if self.horizon is None else self.horizon
        if horizon > data.lengths.min():
            raise ValueError(
                f"horizon is {horizon} samples, the shortest trajectory has {int(data.lengths.min())}; "
                "raise steps or lower horizon"
            )
        self.parts = dict(zip(("train", "val", "test"), data.split(*self.shares), strict=True))
        self._whole = int(horizon)

    def _load(self) -> TrajectorySet:
        if self._given is not None:
            return self._given
        if self.file is not None:
            return TrajectorySet.load(self.file)
        if self.cache:
            return cached_trajectories(self.system, self.n, self.steps, self.seed)
        return self.system.generate(self.n, self.steps, self.seed)

    def train_dataloader(self) -> DataLoader[Any]:
        windows = WindowDataset(self.parts["train"], self.window, self.start, self.windows_per_epoch)
        return _loader(windows, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return _loader(WindowDataset(self.parts["val"], self._whole, "first"), self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return _loader(WindowDataset(self.parts["test"], self._whole, "first"), self.eval_batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.test_dataloader()


def _as_is(batch: Any) -> Any:
    return batch


def _loader(data: WindowDataset, batch_size: int, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(
        data, batch_size=batch_size, shuffle=shuffle, collate_fn=_as_is, pin_memory=torch.cuda.is_available()
    )
