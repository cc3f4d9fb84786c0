"""Ten long pendulum trajectories of the predecessor, made by other people's code: a check of our integrator (§6)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

import tenfold.data
from tenfold.data import DataNotFoundError

from .trajectories import TrajectorySet

_FILE = Path("pendulum") / "PendulumRings.csv"
_TRAJECTORIES, _SAMPLES, _DT = 10, 1500, 0.02


def load_pendulum_rings(root: str | Path | None = None) -> TrajectorySet:
    """The file as a set: 10 trajectories × 1,500 samples of (θ, θ̇), Δt = 0.02, in float32 as every set.

    Arguments and errors as `read_pendulum_rings`.
    """
    x = read_pendulum_rings(root)
    return TrajectorySet(x, _DT, 0.0, {"system": "pendulum", "source": "BethanyL/DeepKoopman"})


def read_pendulum_rings(root: str | Path | None = None) -> Float64[np.ndarray, "10 1500 2"]:
    """The numbers of `pendulum/PendulumRings.csv` with all their digits.

    Args:
        root: the data folder; `tenfold.data.root()` if None.

    Raises:
        DataNotFoundError: if the file is missing.
        ValueError: if it does not hold 10 × 3,000 numbers.
    """
    folder = tenfold.data.root() if root is None else Path(root)
    path = folder / _FILE
    if not path.exists():
        raise DataNotFoundError(
            f"{path} not found: the long pendulum trajectories are postprocessing/PendulumRings.csv of the "
            f"repository BethanyL/DeepKoopman (MIT); put the file there, below TENFOLD_DATA or ./data"
        )
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    if rows.shape != (_TRAJECTORIES, 2 * _SAMPLES):
        raise ValueError(
            f"{path} holds {rows.shape[0]} rows of {rows.shape[1]} numbers; expected {_TRAJECTORIES} rows of "
            f"{2 * _SAMPLES}: θ, θ̇, θ, θ̇, …"
        )
    return rows.reshape(_TRAJECTORIES, _SAMPLES, 2)
