"""What every test of the workspace shares: one thread a worker, no network, reasons for what is skipped."""

import os

# Before torch is imported: parallel test workers must not fight over the cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")

import random  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run() -> None:
    """What a test draws without a seed of its own is the same in every run, alone or among others."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in needs_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))

    folder = os.environ.get("TENFOLD_DATA")
    reason = None
    if not folder:
        reason = "TENFOLD_DATA is not set"
    elif not Path(folder).is_dir():
        reason = f"TENFOLD_DATA={folder} is not a folder"
    if reason:
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(pytest.mark.skip(reason=reason))
