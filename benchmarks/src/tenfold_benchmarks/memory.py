"""Peak memory of a piece of work, in a process that does several pieces in turn."""

import gc
import re
import sys
import threading
from pathlib import Path
from types import TracebackType

_PROC = Path("/proc/self")
_MB = 1 / 2**20


class PeakMemory:
    """Measures the largest resident memory of this process, and of its CUDA device, while the block runs.

    The kernel's own high-water mark is reset where it lets us (Linux); elsewhere the resident size is sampled.
    Both include what the process held before, e.g. torch itself. Attributes: `megabytes`, `cuda_megabytes` (None if
    CUDA was not used), `how` ("kernel", "sampled", or "process", the peak since the process began).

    Example:
        >>> with PeakMemory() as peak:
        ...     block = bytearray(50 * 2**20)
        >>> peak.megabytes > 50
        True
    """

    def __init__(self, interval: float = 0.02):
        self.interval = interval
        self.megabytes = 0.0
        self.cuda_megabytes: float | None = None
        self.how = "process"
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if reset_high_water_mark():
            self.how = "kernel"
        elif resident() is not None:
            self.how = "sampled"
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is not None:
            self._done.set()
            self._sampler.join()
        elif self.how == "kernel":
            self.megabytes = _status("VmHWM") or 0.0
        else:
            self.megabytes = _lifetime_peak()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            self.cuda_megabytes = torch.cuda.max_memory_allocated() * _MB or None

    def _sample(self) -> None:
        while True:
            self.megabytes = max(self.megabytes, resident() or 0.0)
            if self._done.wait(self.interval):
                self.megabytes = max(self.megabytes, resident() or 0.0)
                return


def reset_high_water_mark() -> bool:
    """Set the kernel's high-water mark to the present resident size; False where that is not possible."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return _status("VmHWM") is not None


def resident() -> float | None:
    """Resident memory of this process in MB, or None where the system does not tell."""
    return _status("VmRSS")


def _status(key: str) -> float | None:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", (_PROC / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def _lifetime_peak() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * _MB if sys.platform == "darwin" else peak / 1024
