"""`ci/locked.txt` is what a fresh `uv lock` gives: the same distributions with the same hashes, on every machine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def distributions(text: str) -> dict[str, frozenset[str]]:
    """requirement -> hashes, from a requirements file (markers left out: uv versions word them differently)."""
    found: dict[str, set[str]] = {}
    current = ""
    for line in text.splitlines():
        if match := re.match(r"^([A-Za-z0-9][\w.\-]*(?:\[[^\]]*\])?==[^\s;\\]+)", line):
            current = match.group(1)
            found.setdefault(current, set())
        found.setdefault(current, set()).update(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
    found.pop("", None)
    return {name: frozenset(hashes) for name, hashes in found.items()}


@pytest.fixture(scope="module")
def locked() -> str:
    return (ROOT / "ci" / "locked.txt").read_text()


def test_every_distribution_has_hashes(locked: str) -> None:
    found = distributions(locked)
    assert len(found) > 50
    assert [name for name, hashes in found.items() if not hashes] == []


def test_no_download_addresses(locked: str) -> None:
    assert "://" not in locked
    assert "--index" not in locked
    assert "--find-links" not in locked


def test_equals_a_fresh_lock(locked: str, tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    run = subprocess.run(
        [ROOT / "ci" / "lock", tmp_path], check=False, capture_output=True, text=True, timeout=300
    )
    if run.returncode != 0 and re.search(r"(dns error|error sending request|Connect|offline)", run.stderr):
        pytest.skip(f"no package registry in reach: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    fresh = distributions((tmp_path / "locked.txt").read_text())
    assert distributions(locked) == fresh, "run ci/lock and commit ci/locked.txt"
