"""Sets of trajectories: the form in which every system, data module, metric and baseline exchanges data (§6, §9).

A set keeps its trajectories apart, also where their lengths differ: a window never reaches from the end of one
trajectory into the beginning of the next, so no pair of samples is made up across a join.
"""

import json
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tenfold.checkpoint import write_atomically

WindowStart = Literal["random", "first"]
ArrayLike = Tensor | np.ndarray
_FIELDS = frozenset({"x", "lengths", "dt", "lyapunov", "meta"})


class TrajectorySet:
    """Trajectories of one system, sampled every `dt`.

    Args:
        x: an array (n, T, n_x) of equally long trajectories, or a list of arrays (T_i, n_x); kept as float32.
        dt: time between two samples, in units of the system.
        lyapunov: largest Lyapunov exponent of the system; 0 where motion is not chaotic, None where it is not known.
        meta: what is worth keeping: the name of the preset, parameters, seed. JSON types only.

    Raises:
        ValueError: wrong rank, different numbers of channels, fewer than two samples, entries that are not finite,
            or a `dt` that is not positive.

    Example:
        >>> data = TrajectorySet([torch.zeros(5, 2), torch.ones(8, 2)], dt=0.1)
        >>> len(data), data.n_x, data.lengths.tolist()
        (2, 2, [5, 8])
        >>> data.windows(4, start="first").shape
        torch.Size([2, 4, 2])
    """

    def __init__(
        self,
        x: ArrayLike | Sequence[ArrayLike],
        dt: float,
        lyapunov: float | None = None,
        meta: Mapping[str, Any] | None = None,
    ):
        if not (math.isfinite(dt) and dt > 0):
            raise ValueError(f"dt must be a positive time between two samples, got {dt}")
        if lyapunov is not None and not math.isfinite(lyapunov):
            raise ValueError(f"lyapunov must be a finite number or None, got {lyapunov}")
        flat, lengths = _flatten(x)
        self.dt, self.lyapunov, self.meta = float(dt), lyapunov, dict(meta or {})
        self._flat, self.lengths = flat, lengths
        self._offsets = lengths.cumsum(0) - lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Float[Tensor, "T n_x"]:
        start = int(self._offsets[index])
        return self._flat[start : start + int(self.lengths[index])]

    def __repr__(self) -> str:
        low, high = int(self.lengths.min()), int(self.lengths.max())
        samples = str(low) if low == high else f"{low}–{high}"
        return f"TrajectorySet({len(self)} trajectories × {samples} samples × {self.n_x} channels, dt={self.dt:g})"

    @property
    def n_x(self) -> int:
        """Number of channels."""
        return self._flat.shape[1]

    @property
    def trajectories(self) -> list[Float[Tensor, "T n_x"]]:
        """Each trajectory; views, not copies."""
        return [self[i] for i in range(len(self))]

    @property
    def x(self) -> Float[Tensor, "n T n_x"]:
        """All trajectories as one tensor (a view).

        Raises:
            ValueError: if their lengths differ; use `trajectories` or `windows`.
        """
        length = int(self.lengths[0])
        if (self.lengths != length).any():
            raise ValueError(
                f"the trajectories have {int(self.lengths.min())} to {int(self.lengths.max())} samples and do not form "
                "one tensor; use .trajectories, or .windows(T)"
            )
        return self._flat.view(len(self), length, self.n_x)

    @property
    def mean(self) -> Float[Tensor, "n_x"]:
        """Mean of each channel over all samples."""
        return self._flat.mean(0, dtype=torch.float64).float()

    @property
    def channel_std(self) -> Float[Tensor, "n_x"]:
        """Standard deviation of each channel over all samples."""
        return (self._flat - self.mean).square().mean(0, dtype=torch.float64).sqrt().float()

    @property
    def sigma(self) -> float:
        """One scale for the state: the root mean square of the channels' standard deviations (§10.8)."""
        return float(self.channel_std.double().square().mean().sqrt())

    def subset(self, index: Sequence[int] | Int[Tensor, "m"]) -> Self:
        """The trajectories at `index`, in that order."""
        chosen = [self[int(i)] for i in index]
        if not chosen:
            raise ValueError("index is empty: a set holds at least one trajectory")
        return type(self)(chosen, self.dt, self.lyapunov, self.meta)

    def split(self, train: float = 0.7, val: float = 0.1) -> tuple[Self, Self, Self]:
        """Split by trajectory, in the order they have, before any window is cut (§10.14).

        Args:
            train: share of the trajectories for training.
            val: share for validation; the rest is the test part.

        Raises:
            ValueError: shares that do not leave a test part, or fewer than 10 trajectories.
        """
        if not (train > 0 and val > 0 and train + val < 1):
            raise ValueError(
                f"train and val must be positive and leave a rest for the test: got {train} and {val}"
            )
        if len(self) < 10:
            raise ValueError(
                f"{len(self)} trajectories cannot be split into training, validation and test; give at least 10"
            )
        n_val, n_train = max(round(val * len(self)), 1), round(train * len(self))
        n_train = max(min(n_train, len(self) - n_val - 1), 1)
        bounds = (0, n_train, n_train + n_val, len(self))
        first, second, third = (self._part(a, b) for a, b in pairwise(bounds))
        return first, second, third

    def windows(
        self,
        length: int,
        start: WindowStart = "random",
        *,
        index: Int[Tensor, "m"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "m length n_x"]:
        """One window of each trajectory.

        Args:
            length: samples in a window (T).
            start: "first" begins every window at sample 0 (the recipe of §5), "random" anywhere it fits.
            index: which trajectories, repeats allowed; all of them, in order, if None.
            generator: for random starts; the global one if None.

        Raises:
            ValueError: unknown `start`, or a trajectory shorter than `length`.
        """
        if start not in ("random", "first"):
            raise ValueError(f"start must be 'random' or 'first', got {start!r}")
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        chosen = torch.arange(len(self)) if index is None else index
        room = self.lengths[chosen] - length
        if (room < 0).any():
            shortest = int(self.lengths[chosen].min())
            raise ValueError(
                f"a window of {length} samples does not fit into a trajectory of {shortest}; shorten the window"
            )
        begin = self._offsets[chosen]
        if start == "random":
            share = torch.rand(len(chosen), generator=generator, dtype=torch.float64)
            begin = begin + (share * (room + 1)).long()
        return self._flat[begin[:, None] + torch.arange(length)]

    def every(self, stride: int) -> Self:
        """Every `stride`-th sample: the same trajectories at a sampling interval `stride * dt`."""
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        thinned = [trajectory[::stride] for trajectory in self.trajectories]
        return type(self)(thinned, self.dt * stride, self.lyapunov, {**self.meta, "stride": stride})

    def save(self, path: str | Path) -> None:
        """Write an `.npz` file without pickled objects, complete or not at all."""
        buffer = BytesIO()
        np.savez(
            buffer,
            x=self._flat.numpy(),
            lengths=self.lengths.numpy(),
            dt=self.dt,
            lyapunov=math.nan if self.lyapunov is None else self.lyapunov,
            meta=json.dumps(self.meta, sort_keys=True),
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getbuffer())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a file of this form, or holds pickled objects.
        """
        path = Path(path)
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
        except (ValueError, BadZipFile, EOFError) as error:
            raise ValueError(
                f"{path} is damaged or no set of trajectories ({error}); delete it to make it anew"
            ) from error
        if set(content) != _FIELDS:
            raise ValueError(f"{path} holds {sorted(content)}, a set of trajectories holds {sorted(_FIELDS)}")
        flat, lengths = torch.from_numpy(content["x"]), content["lengths"].tolist()
        lyapunov = float(content["lyapunov"])
        known = None if math.isnan(lyapunov) else lyapunov
        return cls(flat.split(lengths), float(content["dt"]), known, json.loads(str(content["meta"])))

    def _part(self, first: int, last: int) -> Self:
        rows = slice(int(self._offsets[first]), int(self._offsets[last - 1] + self.lengths[last - 1]))
        pieces = self._flat[rows].split(self.lengths[first:last].tolist())
        return type(self)(pieces, self.dt, self.lyapunov, self.meta)


def _flatten(x: ArrayLike | Sequence[ArrayLike]) -> tuple[Float[Tensor, "total n_x"], Int[Tensor, "n"]]:
    """All samples below each other, and the length of each trajectory."""
    if isinstance(x, Tensor | np.ndarray):
        whole = torch.as_tensor(x, dtype=torch.float32)
        if whole.ndim != 3:
            raise ValueError(
                f"x has shape {tuple(whole.shape)}; give (trajectories, samples, channels), "
                "or a list of arrays (samples, channels)"
            )
        lengths = torch.full((whole.shape[0],), whole.shape[1])
        flat = whole.flatten(0, 1)
    else:
        pieces = [torch.as_tensor(piece, dtype=torch.float32) for piece in x]
        for i, piece in enumerate(pieces):
            if piece.ndim != 2:
                raise ValueError(f"trajectory {i} has shape {tuple(piece.shape)}; give (samples, channels)")
            if piece.shape[1] != pieces[0].shape[1]:
                raise ValueError(
                    f"trajectory {i} has {piece.shape[1]} channels, trajectory 0 {pieces[0].shape[1]}"
                )
        lengths = torch.tensor([len(piece) for piece in pieces], dtype=torch.int64)
        flat = torch.cat(pieces) if pieces else torch.zeros(0, 0)
    if not len(lengths):
        raise ValueError("x holds no trajectory")
    if int(lengths.min()) < 2:
        raise ValueError(
            f"trajectory {int(lengths.argmin())} has {int(lengths.min())} samples; give at least 2"
        )
    if flat.shape[1] < 1:
        raise ValueError("x has no channels")
    finite = flat.isfinite().all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        bad = int(torch.searchsorted(lengths.cumsum(0), row, right=True))
        raise ValueError(f"x is not finite in trajectory {bad}; remove the trajectory or mend it")
    return flat, lengths
