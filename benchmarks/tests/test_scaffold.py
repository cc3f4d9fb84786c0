"""A paper made by `tenfold new`: it is added to the workspace, its tests pass, its claim fails until it is written."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tenfold_benchmarks.scaffold import add_paper

ROOT = """[project]
name = "workspace"
dependencies = [
    "tenfold[train]",
    "tenfold-benchmarks[ray]",
]

[tool.uv.sources]
tenfold = { workspace = true }

[tool.uv.workspace]
members = ["projects/*", "shared", "benchmarks"]

[tool.mypy]
packages = ["tenfold", "tenfold_benchmarks"]
"""


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "pyproject.toml").write_text(ROOT)
    return tmp_path


def test_a_paper_has_the_floor_plan_and_is_a_member(workspace, here, monkeypatch):
    monkeypatch.chdir(workspace / "benchmarks")
    code, output, errors = here("new", "eleventh", "--title", "The eleventh paper")
    assert code == 0, errors
    assert "uv run pytest projects/eleventh" in output
    folder = workspace / "projects/eleventh"
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    package = {"__init__.py", "__init__.pyi", "__main__.py", "py.typed", "layers.py", "models.py", "data.py"}
    package |= {
        "module.py",
        "train.py",
        "claims.py",
        *(f"configs/{s}.yaml" for s in ("smoke", "cpu", "gpu", "paper")),
    }
    assert {f"src/eleventh/{name}" for name in package} | {"README.md", "pyproject.toml"} <= made
    assert all(
        "__paper__" not in path.read_text() and "__title__" not in path.read_text()
        for path in folder.rglob("*.*")
    )
    assert "The eleventh paper" in (folder / "README.md").read_text()
    settings = tomllib.loads((workspace / "pyproject.toml").read_text())
    assert settings["project"]["dependencies"][-1] == "eleventh[train]"
    assert settings["tool"]["uv"]["sources"]["eleventh"] == {"workspace": True}
    assert settings["tool"]["mypy"]["packages"] == ["tenfold", "tenfold_benchmarks", "eleventh"]
    assert settings["tool"]["uv"]["workspace"]["members"] == ["projects/*", "shared", "benchmarks"]


def test_what_cannot_be_added_is_told(workspace):
    (workspace / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["benchmarks"]\n')
    told = "\n".join(add_paper(workspace, "eleventh"))
    assert "add to [project] dependencies of " in told
    assert '"eleventh[train]"' in told
    assert "eleventh = { workspace = true }" in told


@pytest.mark.parametrize("name", ["Eleventh", "my-paper", "11th", "class", "_x", "a__b", ""])
def test_names_that_are_no_package_names_are_refused(workspace, name):
    with pytest.raises(ValueError, match="paper must be a package name in lower case"):
        add_paper(workspace, name)


@pytest.mark.parametrize("name", ["json", "torch", "tenfold"])
def test_names_that_are_taken_are_refused(workspace, name):
    with pytest.raises(ValueError, match="paper must be a name that no installed package has"):
        add_paper(workspace, name)


def test_an_existing_folder_is_left_alone(workspace):
    add_paper(workspace, "eleventh")
    (workspace / "projects/eleventh/README.md").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        add_paper(workspace, "eleventh")
    assert (workspace / "projects/eleventh/README.md").read_text() == "mine"


def test_a_title_that_breaks_toml_is_refused(workspace):
    with pytest.raises(ValueError, match="title must not contain quotes"):
        add_paper(workspace, "eleventh", 'A "quoted" title')


def test_outside_a_checkout_the_command_says_so(here):
    code, _, errors = here("new", "eleventh")
    assert code == 2
    assert "is not inside a Tenfold checkout" in errors


@pytest.mark.slow
def test_its_tests_pass_it_is_formatted_and_its_claim_fails(workspace, toys):
    add_paper(workspace, "eleventh", "The eleventh paper")
    folder = workspace / "projects/eleventh"
    source = folder / "src"
    info = source / "eleventh-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: eleventh\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[toys.claims]\neleventh = eleventh.claims\n")
    toys.environment = {"PYTHONPATH": str(source)}
    options = {
        "cwd": workspace,
        "env": {**os.environ, **toys.environment},
        "capture_output": True,
        "text": True,
    }

    def python(*arguments):
        return subprocess.run([sys.executable, "-m", *arguments], check=False, **options)

    house = Path(__file__).parents[2]
    style = (f"--config={house / 'pyproject.toml'}", f"--config=src=['{house}/shared/src', '{source}']")
    for check in (["format", "--check"], ["check"]):
        done = python("ruff", *check, *style, str(folder))
        assert done.returncode == 0, done.stdout + done.stderr
    plain = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--doctest-modules", "--import-mode=importlib")
    tests = python("pytest", *plain, "-W", "error", "-o", "markers=slow", str(folder))
    assert tests.returncode == 0, tests.stdout + tests.stderr
    done = toys.tenfold("reproduce", "eleventh", "--results", str(toys.results), "--no-report")
    assert done.returncode == 1, done.stdout + done.stderr
    record = toys.record("eleventh", "C1")
    assert (record["passed"], record["error"]) == (False, None)
