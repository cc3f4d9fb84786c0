"""Where a number was measured: versions, processor, commit. Nothing here imports torch."""

import os
import platform
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path


def workspace(start: Path | None = None) -> Path | None:
    """The root of the Tenfold checkout that `start` (default: the current folder) lies in, or None outside one."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        pyproject = folder / "pyproject.toml"
        if pyproject.is_file() and (folder / "benchmarks").is_dir():
            settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
            members = settings.get("tool", {}).get("uv", {}).get("workspace", {}).get("members", [])
            if "benchmarks" in members:
                return folder
    return None


def default_results(start: Path | None = None) -> Path:
    """`benchmarks/results` of the checkout the current folder lies in, else `./results`."""
    root = workspace(start)
    return root / "benchmarks" / "results" if root else (start or Path.cwd()) / "results"


@cache
def version(distribution: str) -> str | None:
    """Installed version of a distribution, without importing it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def git_commit(folder: Path) -> str | None:
    """Commit checked out where the code lies, with `-dirty` if tracked files differ from it; None outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # Results are what a run writes: they do not make the code that wrote them dirty.
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/results"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


@cache
def processor() -> str:
    """Name of the CPU, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def cuda_device() -> str | None:
    """Name of the CUDA device this process has used, or None."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return None


def cuda_devices() -> list[str]:
    """The CUDA devices a worker may be given, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(x for x in listing.splitlines() if x.startswith("GPU"))]


def cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(folder: Path | None = None) -> dict[str, str | None]:
    """Python, torch, processor, CUDA device, system and commit of this process."""
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "processor": processor(),
        "cuda_device": cuda_device(),
        "system": f"{platform.system()} {platform.machine()}",
        "git_commit": git_commit(folder) if folder else None,
    }
