"""Simulated slots in files: HDF5 or NPZ shards with a JSON sidecar, and the `.mat` exchange of AdaFortiTran (NOTES: §6).

A shard `name.h5` (or `.npz`) holds h [N, K, S] and ls [N, K_p, S_p] (complex64), noise_var, snr_db, doppler_hz, delay_spread_ns (float32) and
profile (an index into the names of the sidecar), each [N], and tracking [N, K_t, S_d] where the grid has
tracking pilots. `name.h5.json` beside it holds the grid, its hash, and the hash of the file.
"""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.checkpoint import write_atomically

from .ofdm.channel import Slots
from .ofdm.config import OFDMConfig

FORMAT = 1
SUFFIXES = (".h5", ".hdf5", ".npz")
FIELDS = ("h", "ls", "noise_var", "snr_db", "doppler_hz", "delay_spread_ns", "profile")
MAT_NAME = re.compile(
    r"(?P<n>\d+)_SNR-(?P<snr>-?[\d.]+)_DS-(?P<ds>[\d.]+)_DOP-(?P<doppler>[\d.]+)_N-(?P<step>\d+)_(?P<profile>.+)\.mat"
)


class ShardError(ValueError):
    """A shard that cannot be read, or that is not what it says."""


@dataclass(frozen=True)
class Shard:
    """What a file holds.

    Args:
        slots: all of them, on the CPU.
        config: their grid.
        profiles: the names `slots.profile` counts.
        meta: what else the writer wrote down, such as seed and simulator.
    """

    slots: Slots
    config: OFDMConfig
    profiles: tuple[str, ...]
    meta: dict[str, Any]


def sidecar(path: Path | str) -> Path:
    """The JSON file beside a shard."""
    return Path(f"{path}.json")


def write_shard(
    path: Path | str,
    slots: Slots,
    config: OFDMConfig,
    profiles: Sequence[str],
    meta: dict[str, Any] | None = None,
) -> Path:
    """Write a shard and its sidecar, each whole or not at all.

    Args:
        path: ends with .h5, .hdf5 (needs `icenet[train]`) or .npz.
        slots: what to write.
        config: the grid of the slots.
        profiles: the names that `slots.profile` counts.
        meta: anything JSON can hold, to be kept beside them.
    """
    path = Path(path)
    _check_suffix(path)
    _check_shapes(slots, config, len(profiles))
    arrays = {name: getattr(slots, name).cpu().numpy() for name in FIELDS}
    arrays["profile"] = arrays["profile"].astype(np.int16)
    if slots.tracking is not None:
        arrays["tracking"] = slots.tracking.cpu().numpy()
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, allow_pickle=False, **arrays)
    else:
        with _h5py().File(buffer, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values)
    payload = buffer.getvalue()
    facts = {
        "format": FORMAT,
        "slots": len(slots),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "config": config.to_dict(),
        "config_hash": config.digest(),
        "profiles": list(profiles),
        "meta": meta or {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, payload)
    write_atomically(sidecar(path), (json.dumps(facts, indent=2, allow_nan=False) + "\n").encode())
    return path


def read_shard(path: Path | str, config: OFDMConfig | None = None) -> Shard:
    """Read and verify a shard.

    Args:
        path: of the shard; its sidecar lies beside it.
        config: the grid that is needed; None takes any.

    Raises:
        FileNotFoundError: if the shard or its sidecar is missing.
        ShardError: if the file has changed since it was written, or holds another grid than `config` (the message shows the difference).
    """
    path = Path(path)
    _check_suffix(path)
    for needed in (path, sidecar(path)):
        if not needed.is_file():
            raise FileNotFoundError(
                f"no file {needed}: a shard is the file and its .json beside it; `icenet make-dataset` writes both"
            )
    try:
        facts = json.loads(sidecar(path).read_text())
        version, digest, sha256 = facts["format"], facts["config_hash"], facts["sha256"]
        held, profiles = OFDMConfig.from_dict(facts["config"]), tuple(facts["profiles"])
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{sidecar(path)} is no sidecar of a shard: {error}") from error
    if version != FORMAT:
        raise ShardError(f"{path} has format {version}, this version reads {FORMAT}")
    if held.digest() != digest:
        raise ShardError(
            f"{sidecar(path)}: the grid has the hash {held.digest()}, but {digest} is written there; it was edited"
        )
    if config is not None and config != held:
        raise ShardError(f"{path} holds another grid: " + "; ".join(config.diff(held)))
    payload = path.read_bytes()
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise ShardError(
            f"{path} is not the file that {sidecar(path).name} describes: its sha256 differs; make it anew"
        )
    slots = _slots(_arrays(path, payload), path)
    _check_shapes(slots, held, len(profiles))
    return Shard(slots, held, profiles, facts.get("meta", {}))


def _arrays(path: Path, payload: bytes) -> dict[str, NDArray[Any]]:
    if path.suffix == ".npz":
        with np.load(io.BytesIO(payload), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    with _h5py().File(io.BytesIO(payload), "r") as file:
        return {name: file[name][()] for name in file}


def _slots(arrays: dict[str, NDArray[Any]], path: Path) -> Slots:
    if missing := [name for name in FIELDS if name not in arrays]:
        raise ShardError(f"{path} holds no {', '.join(missing)}")
    types = {"h": torch.complex64, "ls": torch.complex64, "tracking": torch.complex64, "profile": torch.long}
    chosen = {name: arrays[name] for name in (*FIELDS, "tracking") if name in arrays}
    return Slots(
        **{name: torch.from_numpy(v).to(types.get(name, torch.float32)) for name, v in chosen.items()}
    )


def _check_shapes(slots: Slots, config: OFDMConfig, n_profiles: int) -> None:
    n = len(slots)
    expected = {"h": (n, *config.shape), "ls": (n, *config.pilots.shape)}
    for name in FIELDS:
        got, wanted = tuple(getattr(slots, name).shape), expected.get(name, (n,))
        if got != wanted:
            raise ShardError(f"{name} has the shape {got}, the grid asks for {wanted}")
    if n and not 0 <= int(slots.profile.min()) <= int(slots.profile.max()) < n_profiles:
        raise ShardError(
            f"slots.profile reaches {int(slots.profile.max())}, but there are {n_profiles} profile names"
        )


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must end with one of {', '.join(SUFFIXES)}")


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 shards need h5py: install icenet[train], or use .npz") from error
    return h5py


# The .mat exchange ----------------------------------------------------------------------------------------------------


def write_mat(
    folder: Path | str, slots: Slots, config: OFDMConfig, profiles: Sequence[str], first: int = 1
) -> list[Path]:
    """One file a slot, `{n}_SNR-{dB}_DS-{ns}_DOP-{Hz}_N-{pilot step}_{profile}.mat`, with `H` of shape [K, S, 2].

    Plane 0 is the channel, plane 1 the LS estimates at the pilots and zeros elsewhere. `first` numbers the first file.
    """
    from scipy.io import savemat

    _check_shapes(slots, config, len(profiles))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    step = config.pilots.subcarriers[0][1] - config.pilots.subcarriers[0][0]
    paths = []
    for i in range(len(slots)):
        planes = torch.zeros(*config.shape, 2, dtype=torch.complex64)
        planes[..., 0] = slots.h[i]
        planes[(*config.pilots.coordinates(), torch.tensor(1))] = slots.ls[i].cpu()
        buffer = io.BytesIO()
        savemat(buffer, {"H": planes.numpy()})
        name = (
            f"{first + i}_SNR-{_plain(slots.snr_db[i])}_DS-{_plain(slots.delay_spread_ns[i])}_DOP-{_plain(slots.doppler_hz[i])}"
            f"_N-{step}_{profiles[int(slots.profile[i])]}.mat"
        )
        write_atomically(folder / name, buffer.getvalue())
        paths.append(folder / name)
    return paths


def read_mat(paths: Path | str | Sequence[Path | str], config: OFDMConfig) -> Shard:
    """Slots of `.mat` files, or of a folder of them in the order of their numbers; σ² follows from the SNR of the name.

    Planes after the second are not read. The pilots must lie where `config` has them.
    """
    from scipy.io import loadmat

    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if len(files) == 1 and files[0].is_dir():
        files = sorted(files[0].glob("*.mat"), key=lambda path: (_facts(path)[0], path.name))
    if not files:
        raise FileNotFoundError(f"no .mat files in {paths}")
    facts = [_facts(path) for path in files]
    profiles = tuple(dict.fromkeys(fact[4] for fact in facts))
    planes = []
    for path in files:
        # Plain arrays only; scipy's reader executes nothing.
        H = loadmat(path, variable_names=["H"]).get("H")
        if H is None or H.ndim != 3 or H.shape[:2] != config.shape or H.shape[2] < 2:
            got = "no H" if H is None else f"H of shape {H.shape}"
            raise ShardError(f"{path} has {got}, [{config.n_subcarriers}, {config.n_symbols}, 2] is needed")
        planes.append(torch.from_numpy(H[..., :2].astype(np.complex64)))
    grid = torch.stack(planes)
    holds = grid[..., 1] != 0
    expected = torch.zeros(config.shape, dtype=torch.bool)
    expected[config.pilots.coordinates()] = True
    for path, mask in zip(files, holds):
        if not torch.equal(mask, expected):
            raise ShardError(
                f"{path} has {int(mask.sum())} pilots, {int((mask & expected).sum())} of them where the {config.pilots.n_pilots} of the grid lie"
            )
    snr, spread, doppler = (torch.tensor([fact[i] for fact in facts]) for i in (1, 2, 3))
    profile = torch.tensor([profiles.index(fact[4]) for fact in facts])
    ls = config.pilots.take(grid[..., 1])
    slots = Slots(ls, grid[..., 0].contiguous(), 10 ** (-snr / 10), snr, doppler, spread, profile)
    return Shard(slots, config, profiles, {"files": [path.name for path in files]})


def _facts(path: Path) -> tuple[int, float, float, float, str]:
    """Number, SNR, delay spread, Doppler and profile of a file name."""
    match = MAT_NAME.fullmatch(path.name)
    if match is None:
        raise ShardError(f"{path.name} is not named like 1_SNR-10_DS-100_DOP-500_N-2_TDL-A.mat")
    return int(match["n"]), float(match["snr"]), float(match["ds"]), float(match["doppler"]), match["profile"]


def _plain(value: torch.Tensor) -> str:
    """Six digits without an exponent or superfluous zeros."""
    text = f"{float(value):.4f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
