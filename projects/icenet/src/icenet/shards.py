"""Simulated slots in files: HDF5 or NPZ shards with a JSON sidecar, and the `.mat` exchange of AdaFortiTran (NOTES: §6)."""

from pathlib import Path

from .ofdm.channel import Slots
from .ofdm.config import OFDMConfig


def write_shard(
    path: Path | str, slots: Slots, config: OFDMConfig, profiles: list[str], meta: dict | None = None
) -> None:
    """Write `path` (.h5, .hdf5 or .npz) and `path`.json beside it."""
    raise NotImplementedError


def read_shard(path: Path | str, config: OFDMConfig | None = None) -> tuple[Slots, OFDMConfig, dict]:
    """Slots, their grid and the sidecar; with `config` an error that shows the difference if the shard has another grid."""
    raise NotImplementedError
