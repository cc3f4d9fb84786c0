"""Toy papers: packages made in a temporary folder and found like installed ones, that start in a fraction of a second."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from tenfold_benchmarks import cli, discovery, sources

HEADER = "import os, time, sys\nfrom tenfold.claims import Figure, Measurement, Table, claim\n"

# Toys have an entry-point group of their own, so that the papers installed beside them stay out of the tests.
COMMAND = """
from tenfold_benchmarks import cli, discovery
discovery.GROUP = "toys.claims"
cli.main()
"""


@dataclass
class Toys:
    """A folder of toy papers, and the command `tenfold` run as a process that finds them, and only them."""

    folder: Path
    results: Path
    environment: dict[str, str] = field(default_factory=dict)
    here: Callable[..., tuple[int, str, str]] | None = None

    def paper(self, name: str, claims: str, **files: str) -> Path:
        """Make (or rewrite) a paper; `claims` is the source of its claims module, without the imports."""
        package = self.folder / name
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "claims.py").write_text(HEADER + dedent(claims))
        for file, text in files.items():
            path = package / file.replace("__", "/", 1) if "__" in file else package / f"{file}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(dedent(text))
        info = self.folder / f"{name}-0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n")
        (info / "entry_points.txt").write_text(f"[toys.claims]\n{name} = {name}.claims\n")
        return package

    def counting(self, pause: object = 0, value: object = 1) -> None:
        """Make the paper `toy`, whose claim T1 writes its seed into a file each time it runs, and then pauses."""
        waiting = str(pause) if str(pause).startswith("while") else f"time.sleep({pause})"
        self.paper(
            "toy",
            f"""
            @claim("T1", "Counts its runs", source="section 1")
            def t1(scale, seed):
                with open("runs.txt", "a") as file:
                    file.write(f"{{seed}}\\n")
                {waiting}
                return Measurement("runs", {value}, "always", True)
            """,
        )

    def runs(self) -> list[str]:
        """The seeds that `counting` was run with so far, sorted."""
        path = self.folder / "runs.txt"
        return sorted(path.read_text().split()) if path.exists() else []

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-c", COMMAND, *arguments]

    def options(self) -> dict:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200", **self.environment}
        return {"cwd": self.folder, "env": environment, "text": True}

    def tenfold(self, *arguments: str, **options: object) -> subprocess.CompletedProcess:
        """Run `tenfold …` to its end."""
        return subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            timeout=60,
            **{**self.options(), **options},
        )

    def reproduce(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `tenfold reproduce …` on the results folder, without the page; the driver in this process."""
        assert self.here is not None
        code, output, errors = self.here(
            "reproduce", *arguments, "--results", str(self.results), "--no-report"
        )
        return subprocess.CompletedProcess(arguments, code, output, errors)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start `tenfold reproduce …` and come back at once."""
        command = self.command("reproduce", *arguments, "--results", str(self.results), "--no-report")
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.options())

    def record(self, paper: str, claim: str, seed: int = 0, scale: str = "smoke") -> dict:
        return json.loads((self.results / scale / paper / f"{claim}-seed{seed}.json").read_text())


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Toys:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(discovery, "GROUP", "toys.claims")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))  # for the workers
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tenfold", *arguments])
        importlib.invalidate_caches()
        sources.forget()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), output.out, output.err

    return Toys(folder, tmp_path / "results", here=run)


@pytest.fixture
def here(toys: Toys) -> Callable[..., tuple[int, str, str]]:
    """Run `tenfold …` in this process: exit code, output, errors."""
    assert toys.here is not None
    return toys.here
