"""`ci/locked.txt` is a resolution of the declarations: the same distributions with the same hashes, on every machine."""

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


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, frozenset[str]]:
    """What the declarations resolve to now, at the committed versions wherever they still fit."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    folder = tmp_path_factory.mktemp("lock")
    run = subprocess.run(
        [ROOT / "ci" / "lock", "--keep", folder], check=False, capture_output=True, text=True, timeout=300
    )
    if run.returncode != 0 and re.search(r"(dns error|error sending request|Connect|offline)", run.stderr):
        pytest.skip(f"no package registry in reach: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, f"run ci/lock and commit ci/locked.txt: {run.stderr}"
    return distributions((folder / "locked.txt").read_text())


def test_the_declarations_need_these_distributions_and_no_others(
    locked: str, resolved: dict[str, frozenset[str]]
) -> None:
    assert sorted(distributions(locked)) == sorted(resolved), "run ci/lock and commit ci/locked.txt"


def test_the_index_serves_the_files_that_are_locked(locked: str, resolved: dict[str, frozenset[str]]) -> None:
    # Indexes differ in the files they list (one adds a wheel late); one that shares none serves something else.
    strange = [name for name, hashes in distributions(locked).items() if not hashes & resolved[name]]
    assert strange == []
