"""LightningDataModules: windows of characters or bytes, and synthetic tasks; batches are tokens and targets (§5)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ..arguments import check_choice, check_count, check_open_unit, check_positive
from ..tasks import TASKS, Task
from .python_source import load_python_corpus
from .text import Vocabulary, load_tinyshakespeare, load_wikitext2, to_bytes
from .windows import fixed_windows, random_windows

Batch = tuple[Int[Tensor, "b s"], Int[Tensor, "b s"]]


class RandomWindows(Dataset[Batch]):
    """Windows from random places; the places come from torch's global generator, which a run seeds.

    Args:
        tokens: the text.
        ctx: tokens a window.
        length: windows an epoch.
    """

    def __init__(self, tokens: Int[Tensor, "n"], ctx: int, length: int):
        random_windows(tokens, ctx, 1, torch.Generator())  # an error now rather than in the first step
        self.tokens, self.ctx, self.length = tokens, ctx, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return random_windows(self.tokens, self.ctx, len(indices))


class TaskSequences(Dataset[Batch]):
    """Fresh sequences of a task, drawn from a seed that torch's global generator gives."""

    def __init__(self, task: Task, length: int):
        self.task, self.length = task, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        seed = int(torch.randint(2**62, ()))
        drawn = self.task.draw(len(indices), torch.Generator().manual_seed(seed), "train")
        return drawn.tokens, drawn.targets


def _whole(batch: Any) -> Any:
    """Batches are made at once, not gathered from single items."""
    return batch


class _TokenDataModule(lightning.LightningDataModule):
    """Loaders over `self.parts`: "train" makes whole batches, "val" and "test" are fixed."""

    def __init__(self, batch_size: int, steps_per_epoch: int, val_size: int):
        super().__init__()
        check_positive(batch_size=batch_size, steps_per_epoch=steps_per_epoch, val_size=val_size)
        self.batch_size, self.steps_per_epoch, self.val_size = batch_size, steps_per_epoch, val_size
        self.parts: dict[str, Dataset[Any]] = {}

    @property
    def vocab(self) -> int:
        """Number of symbols a model needs."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["train"], self.batch_size, collate_fn=_whole)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["val"], self.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts["test"], self.batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.test_dataloader()

    def _windows(self, train: Tensor, held_out: Tensor, ctx: int) -> None:
        self.parts = {"train": RandomWindows(train, ctx, self.batch_size * self.steps_per_epoch)}
        for part, shift in (("val", 0.0), ("test", 0.5)):
            self.parts[part] = TensorDataset(*fixed_windows(held_out, ctx, self.val_size, shift))


class CharDataModule(_TokenDataModule):
    """Characters of tinyshakespeare: the first 90 % to train on, evenly spaced windows of the rest to judge with.

    Validation windows are the same in every run; test windows lie between them.

    Args:
        ctx: tokens a window.
        batch_size: windows a batch.
        steps_per_epoch: batches an epoch; windows are drawn anew for each.
        val_size: windows for validation, and as many for test.
        train_chars: use only so many characters of the training part (for scaling grids, where data repeat); None for all.
        root: the data folder; `tenfold.data.root()` if None.

    Example:
        >>> CharDataModule(ctx=32).vocab
        65
    """

    def __init__(
        self,
        ctx: int = 32,
        batch_size: int = 16,
        steps_per_epoch: int = 100,
        val_size: int = 128,
        train_chars: int | None = None,
        root: str | None = None,
    ):
        super().__init__(batch_size, steps_per_epoch, val_size)
        check_positive(ctx=ctx)
        if train_chars is not None and train_chars <= ctx:
            raise ValueError(f"train_chars must exceed ctx = {ctx}, got {train_chars}")
        self.ctx, self.train_chars, self.root = ctx, train_chars, root
        self.vocabulary = Vocabulary.of_tinyshakespeare()

    @property
    def vocab(self) -> int:
        return len(self.vocabulary)

    def setup(self, stage: str | None = None) -> None:
        tokens = self.vocabulary.encode(load_tinyshakespeare(self.root))
        cut = int(0.9 * len(tokens))
        if self.train_chars is not None and self.train_chars > cut:
            raise ValueError(f"train_chars is {self.train_chars}, the training part has {cut}")
        self._windows(tokens[: self.train_chars or cut][:cut], tokens[cut:], self.ctx)


class BytesDataModule(_TokenDataModule):
    """Bytes of a text, 256 symbols.

    Args:
        source: "wikitext-2" (trains on its validation file, is judged on its test file: 1.1 + 1.3 MB), "tinyshakespeare"
            (90/10), "python" (the corpus of `emergence data-pysrc`), or the path of a file (split by `train_share`).
        ctx: tokens a window.
        batch_size: windows a batch.
        steps_per_epoch: batches an epoch.
        val_size: windows for validation, and as many for test.
        train_share: of a single file; the beginning trains.
        root: the data folder; `tenfold.data.root()` if None.

    Example:
        >>> BytesDataModule("wikitext-2").vocab
        256
    """

    def __init__(
        self,
        source: str = "wikitext-2",
        ctx: int = 512,
        batch_size: int = 64,
        steps_per_epoch: int = 100,
        val_size: int = 128,
        train_share: float = 0.9,
        root: str | None = None,
    ):
        super().__init__(batch_size, steps_per_epoch, val_size)
        check_positive(ctx=ctx)
        check_open_unit(train_share=train_share)
        self.source, self.ctx, self.train_share, self.root = source, ctx, train_share, root

    @property
    def vocab(self) -> int:
        return 256

    def setup(self, stage: str | None = None) -> None:
        train, held_out = self._read()
        self._windows(train, held_out, self.ctx)

    def _read(self) -> tuple[Tensor, Tensor]:
        if self.source == "wikitext-2":
            valid, test = (load_wikitext2(part, self.root) for part in ("valid", "test"))
            return to_bytes(valid), to_bytes(test)
        if self.source == "python":
            return load_python_corpus("train", self.root), load_python_corpus("val", self.root)
        if self.source == "tinyshakespeare":
            tokens = to_bytes(load_tinyshakespeare(self.root))
        else:
            path = Path(self.source)
            if not path.is_file():
                raise FileNotFoundError(
                    f"source must be 'wikitext-2', 'tinyshakespeare', 'python' or a file, and there is no file {path}"
                )
            tokens = to_bytes(path.read_bytes())
        cut = int(self.train_share * len(tokens))
        return tokens[:cut], tokens[cut:]


class TaskDataModule(_TokenDataModule):
    """Sequences of a synthetic task: fresh ones to train on, fixed ones for validation and test.

    Args:
        task: "induction", "khop", "modular_addition" or "parity".
        options: constructor arguments of the task.
        batch_size: sequences a batch.
        steps_per_epoch: batches an epoch.
        val_size: sequences for validation, and as many for test.
        seed: of the fixed sequences.

    Example:
        >>> data = TaskDataModule("parity", {"n_bits": 8}, batch_size=4, steps_per_epoch=2, val_size=8)
        >>> data.setup()
        >>> [tuple(part.shape) for part in next(iter(data.train_dataloader()))]
        [(4, 8), (4, 8)]
    """

    def __init__(
        self,
        task: Literal["induction", "khop", "modular_addition", "parity"] = "induction",
        options: dict[str, Any] | None = None,
        batch_size: int = 64,
        steps_per_epoch: int = 100,
        val_size: int = 512,
        seed: int = 0,
    ):
        super().__init__(batch_size, steps_per_epoch, val_size)
        check_choice("task", task, tuple(TASKS))
        check_count(seed=seed)
        make = cast("Callable[..., Task]", TASKS[task])
        self.task = make(**(options or {}))
        self.seed = seed

    @property
    def vocab(self) -> int:
        return self.task.vocab

    def setup(self, stage: str | None = None) -> None:
        draw = torch.Generator().manual_seed(self.seed)
        self.parts = {"train": TaskSequences(self.task, self.batch_size * self.steps_per_epoch)}
        for part in ("val", "test"):
            drawn = self.task.draw(self.val_size, draw, "val")
            self.parts[part] = TensorDataset(drawn.tokens, drawn.targets)
