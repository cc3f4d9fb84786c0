"""Slots to train, validate and test on: simulated afresh for every step, or read from shards (§5, §6).

A batch is a dictionary of tensors: `ls` complex (b, k_p, s_p), `h` complex (b, k, s), and `noise_var`, `snr_db`,
`doppler_hz`, each (b,). What a training step sees is a function of the seed, the step and the process alone, so a run
that was killed and continued trains on the slots that it would have seen.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from .ofdm.channel import ChannelSimulator, Slots
from .ofdm.config import get_numerology
from .ofdm.fading import DopplerRange
from .shards import read_shard

Batch = dict[str, Tensor]
FIELDS = ("ls", "h", "noise_var", "snr_db", "doppler_hz")
_TRAIN, _VAL, _TEST = range(3)
"""Streams of one seed that share no slots."""


def as_batch(slots: Slots, rows: slice | Tensor = slice(None)) -> Batch:
    """The batch of some slots."""
    return {name: getattr(slots, name)[rows] for name in FIELDS}


def stream(seed: int, *path: int) -> torch.Generator:
    """A generator of its own for each path of numbers under a seed."""
    state = np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


class FreshSlots(Dataset[Batch]):
    """Item i is the batch of step i, simulated when it is asked for.

    Args:
        simulator: of the channels.
        batch_size: slots a step.
        snr_db: range of the SNR in dB, uniform.
        steps: its length; items beyond it exist too, as later epochs need them.
        seed: of the slots.
        snr_choices: SNRs in dB that are drawn from instead of the range.

    Example:
        >>> slots = FreshSlots(ChannelSimulator("nr_v2x_15", "EVA", doppler=(0, 1000)), batch_size=4, steps=10)
        >>> torch.equal(slots[3]["h"], slots[3]["h"]), torch.equal(slots[3]["h"], slots[4]["h"])
        (True, False)
    """

    def __init__(
        self,
        simulator: ChannelSimulator,
        batch_size: int = 128,
        snr_db: tuple[float, float] = (0.0, 25.0),
        steps: int = 100,
        seed: int = 0,
        snr_choices: Sequence[float] | None = None,
    ):
        for name, value in (("batch_size", batch_size), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not snr_db[0] <= snr_db[1]:
            raise ValueError(f"snr_db must be a range (low, high) in dB, got {tuple(snr_db)}")
        self.simulator, self.batch_size, self.steps, self.seed = simulator, batch_size, steps, seed
        if snr_choices is not None and not len(snr_choices):
            raise ValueError("snr_choices is empty: give at least one SNR in dB, or None")
        self.snr_db = (float(snr_db[0]), float(snr_db[1]))
        self.snr_choices = None if snr_choices is None else torch.tensor([float(snr) for snr in snr_choices])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        generator = stream(self.seed, _TRAIN, int(step))
        snr: Tensor | tuple[float, float] = self.snr_db
        if self.snr_choices is not None:
            snr = self.snr_choices[
                torch.randint(len(self.snr_choices), (self.batch_size,), generator=generator)
            ]
        return as_batch(self.simulator.slots(self.batch_size, snr, generator))


class StepSampler(DistributedSampler[int]):
    """The steps of an epoch, process beside process: counted on from epoch to epoch, or the same again in another order.

    Args:
        dataset: of steps.
        world_size: number of processes.
        rank: of this one.
        repeat: whether all epochs have the same steps.
    """

    def __init__(self, dataset: FreshSlots, world_size: int = 1, rank: int = 0, repeat: bool = False):
        super().__init__(dataset, num_replicas=world_size, rank=rank, shuffle=False)
        self.steps, self.repeat = len(dataset), repeat

    def __iter__(self) -> Iterator[int]:
        steps: Sequence[int] = range(self.epoch * self.steps, (self.epoch + 1) * self.steps)
        if self.repeat:
            steps = torch.randperm(self.steps, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        return iter([self.num_replicas * step + self.rank for step in steps])

    def __len__(self) -> int:
        return self.steps


class FixedSlots(Dataset[Batch]):
    """Slots that never change, the same channels and noise at every SNR; an item is a batch of one SNR.

    Args:
        simulator: of the channels.
        snr_db: the SNRs in dB.
        n: slots at each.
        batch_size: slots of an item, at most.
        seed: of the slots.
        part: stream of the seed.
    """

    def __init__(
        self,
        simulator: ChannelSimulator,
        snr_db: Sequence[float],
        n: int,
        batch_size: int,
        seed: int,
        part: int,
    ):
        self.batches = [
            as_batch(slots, slice(begin, begin + batch_size))
            for snr in snr_db
            for slots in [simulator.slots(n, float(snr), stream(seed, part))]
            for begin in range(0, n, batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class OnTheFlyDataModule(lightning.LightningDataModule):
    """Fresh slots at every training step; fixed slots, a set at each SNR, for validation and test (§5).

    Args:
        numerology: name of the grid and its pilots.
        profile: name of a delay profile, or several: a mixture, each slot drawn from one of them.
        doppler: range of the maximum Doppler shift in Hz, uniform; None where the profile fixes the Doppler of its taps.
        delay_spread_ns: RMS delay spread of profiles that scale, or a range of it.
        snr_db: range of the training SNR in dB, uniform.
        batch_size: slots a step and process.
        steps: steps between two validations, which Lightning calls an epoch.
        eval_snr_db: SNRs of validation and test in dB.
        n_val: validation slots at each SNR.
        n_test: test slots at each SNR.
        test_profile: profile of the test slots if it is another one; `doppler` and `delay_spread_ns` are the same.
        domain: "frequency", or "time" for the waveform with interference between carriers.
        seed: of the slots; not of the weights.
        snr_choices: training SNRs in dB to draw from instead of the range (predecessor's recipe).
        integer_doppler: whether Doppler shifts are whole Hz (predecessor's recipe).
        repeat: whether all epochs have the same `steps` · `batch_size` slots, a data set, instead of fresh ones.

    Example:
        >>> data = OnTheFlyDataModule(batch_size=8, steps=3, n_val=4)
        >>> data.setup("fit")
        >>> [batch["ls"].shape for batch in data.train_dataloader()][-1], len(data.val_dataloader())
        (torch.Size([8, 36, 4]), 6)
    """

    def __init__(
        self,
        numerology: str = "nr_v2x_15",
        profile: str | list[str] = "EVA",
        doppler: tuple[float, float] | None = (0.0, 1000.0),
        delay_spread_ns: float | tuple[float, float] | None = None,
        snr_db: tuple[float, float] = (0.0, 25.0),
        batch_size: int = 128,
        steps: int = 100,
        eval_snr_db: Sequence[float] = (0, 5, 10, 15, 20, 25),
        n_val: int = 256,
        n_test: int = 2000,
        test_profile: str | list[str] | None = None,
        domain: str = "frequency",
        seed: int = 0,
        snr_choices: list[float] | None = None,
        integer_doppler: bool = False,
        repeat: bool = False,
    ):
        super().__init__()
        for name, value in (("n_val", n_val), ("n_test", n_test), ("eval_snr_db", len(eval_snr_db))):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.ofdm = get_numerology(numerology)
        prior = None if doppler is None else DopplerRange(doppler[0], doppler[1], integer=integer_doppler)
        self.options = {"doppler": prior, "delay_spread": delay_spread_ns, "domain": domain}
        self.simulator = ChannelSimulator(self.ofdm, profile, **self.options)  # type: ignore[arg-type]
        self.train_slots = FreshSlots(self.simulator, batch_size, snr_db, steps, seed, snr_choices)
        self.repeat = repeat
        self.eval_snr_db, self.n_val, self.n_test, self.seed = tuple(eval_snr_db), n_val, n_test, seed
        self.test_profile = profile if test_profile is None else test_profile
        self.parts: dict[str, FixedSlots] = {}

    def setup(self, stage: str | None = None) -> None:
        if stage in (None, "fit", "validate") and "val" not in self.parts:
            self.parts["val"] = self._fixed(self.simulator, self.n_val, _VAL)
        if stage in (None, "test", "predict") and "test" not in self.parts:
            simulator = ChannelSimulator(self.ofdm, self.test_profile, **self.options)  # type: ignore[arg-type]
            self.parts["test"] = self._fixed(simulator, self.n_test, _TEST)

    def _fixed(self, simulator: ChannelSimulator, n: int, part: int) -> FixedSlots:
        return FixedSlots(simulator, self.eval_snr_db, n, 500, self.seed, part)

    def train_dataloader(self) -> DataLoader[Batch]:
        world, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        sampler = StepSampler(self.train_slots, world, rank, self.repeat)
        return DataLoader(self.train_slots, batch_size=None, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.parts["val"], batch_size=None)

    def test_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.parts["test"], batch_size=None)

    predict_dataloader = test_dataloader


class ShardDataset(Dataset[Batch]):
    """The slots of shard files, all in memory; a list of indices gives a batch.

    Args:
        files: shards that `icenet make-dataset` wrote, on one grid.

    Raises:
        ValueError: there are no files, or they hold different grids.
    """

    def __init__(self, files: Sequence[str | Path]):
        if not files:
            raise ValueError("files is empty: give at least one shard")
        first = read_shard(files[0])
        self.ofdm = first.config
        parts = [
            as_batch(shard.slots) for shard in (first, *(read_shard(file, self.ofdm) for file in files[1:]))
        ]
        self.slots: Batch = {name: torch.cat([part[name] for part in parts]) for name in FIELDS}

    def __len__(self) -> int:
        return len(self.slots["snr_db"])

    def __getitem__(self, index: int) -> Batch:
        return {name: value[index] for name, value in self.slots.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(indices)
        return {name: value[rows] for name, value in self.slots.items()}


class ShardDataModule(lightning.LightningDataModule):
    """Slots of shard files: the epochs of the predecessor's recipe (§5).

    Args:
        train: a folder of shards, or files; `val` and `test` likewise.
        val: of the validation slots.
        test: of the test slots; the validation slots if None.
        batch_size: slots a step.
    """

    def __init__(
        self,
        train: str | list[str],
        val: str | list[str],
        test: str | list[str] | None = None,
        batch_size: int = 128,
    ):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.files = {"train": train, "val": val, "test": val if test is None else test}
        self.batch_size = batch_size
        self.parts: dict[str, ShardDataset] = {}

    def setup(self, stage: str | None = None) -> None:
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}
        for part in needed.get(stage or "", tuple(self.files)):
            if part not in self.parts:
                self.parts[part] = ShardDataset(shard_files(self.files[part]))

    def _loader(self, part: str, shuffle: bool = False) -> DataLoader[Batch]:
        return DataLoader(self.parts[part], self.batch_size, shuffle=shuffle, collate_fn=_as_it_is)

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader("test")

    predict_dataloader = test_dataloader


def shard_files(source: str | Sequence[str]) -> list[Path]:
    """The shards of a folder, sorted, or the files given.

    Raises:
        FileNotFoundError: a file does not exist, or the folder holds no shard.
    """
    if isinstance(source, str) and Path(source).is_dir():
        found = sorted(p for p in Path(source).iterdir() if p.suffix in (".h5", ".hdf5", ".npz"))
        if not found:
            raise FileNotFoundError(
                f"{source} holds no shard (.h5, .hdf5 or .npz); icenet make-dataset writes them"
            )
        return found
    files = [Path(source)] if isinstance(source, str) else [Path(file) for file in source]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"no shard {', '.join(missing)}; icenet make-dataset writes them")
    return files


def _as_it_is(batch: Any) -> Any:
    return batch
