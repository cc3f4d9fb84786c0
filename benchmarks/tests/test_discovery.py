"""Claims read from source: the same as importing them would give, or an error that names the line."""

import importlib
import resource
import subprocess
import sys

import pytest

from tenfold.claims import collect
from tenfold_benchmarks import discovery
from tenfold_benchmarks.discovery import Paper, choose, choose_scale, papers, unknown

FIELDS = ("id", "title", "source", "published", "scales", "known_gaps", "cpus", "module")

CLAIMS = """
import tenfold.claims
from tenfold.claims import claim
from .more import later as later, NOT_A_CLAIM
from . import more

LIMIT = 3

@claim("T1", "A title", source="section 1", published=1.5, scales=("smoke", "cpu"), cpus=2,
       known_gaps={"cpu": "too " "short"})
def t1(scale, seed): ...

@tenfold.claims.claim(id="T2", title="By keyword", source="s")
def t2(scale, seed): ...
"""
MORE = "from tenfold.claims import claim\nNOT_A_CLAIM = 1\n@claim('T10', 'Later', source='s', published='1/2')\ndef later(scale, seed): ...\n"


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, claims: str, more: str = MORE) -> Paper:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "claims.py").write_text(claims)
        (folder / "more.py").write_text(more)
        return Paper(name, f"{name}.claims")

    return write


def listed_as_imported(paper: Paper) -> None:
    imported = collect(importlib.import_module(paper.module))
    listed = paper.claims
    assert set(listed) == set(imported)
    for name, claim in imported.items():
        assert [getattr(listed[name], f) for f in FIELDS] == [getattr(claim, f) for f in FIELDS]


def test_a_toy_is_listed_as_it_is_imported(make):
    paper = make("toy_listed", CLAIMS)
    listed_as_imported(paper)
    assert list(paper.claims) == ["T1", "T2", "T10"]
    assert paper.claims["T1"].known_gaps == {"cpu": "too short"}


@pytest.mark.slow
@pytest.mark.parametrize("name", papers())
def test_every_installed_paper_is_listed_as_it_is_imported(name):
    """In a process of its own: importing the claims of ten papers must not weigh on the other tests."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_discovery import listed_as_imported\nfrom tenfold_benchmarks.discovery import choose\n"
        "listed_as_imported(*choose([sys.argv[2]]))"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", program, folder, name],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


BAD = {
    "a name for a literal": (
        "N = 1\n@claim('T1', N, source='s')\ndef t(scale, seed): ...\n",
        "claims.py:3: the arguments",
    ),
    "no source": ("@claim('T1', 'x')\ndef t(scale, seed): ...\n", "claims.py:2: the arguments"),
    "an id twice": (
        "@claim('T1', 'x', source='s')\ndef a(scale, seed): ...\n@claim('T1', 'y', source='s')\ndef b(scale, seed): ...\n",
        "two claims named 'T1'",
    ),
    "no claim": ("x = 1\n", "exports no claim"),
    "a star": ("from .more import *\n", "imports \\*; import the claims by name"),
    "a typo": ("def oops(:\n", "claims.py:2 is not valid Python"),
}


@pytest.mark.parametrize(("claims", "message"), BAD.values(), ids=BAD.keys())
def test_claims_that_cannot_be_listed_are_named(make, claims, message):
    paper = make("toy_bad", "from tenfold.claims import claim\n" + claims)
    with pytest.raises(ValueError, match=message):
        _ = paper.claims


def test_a_missing_module_is_named():
    with pytest.raises(ValueError, match=r"paper ghost: there is no module ghost.claims"):
        _ = Paper("ghost", "ghost.claims").claims


def test_unknown_names_come_with_near_ones():
    assert unknown("paper", "MetaKan", ["metakan", "sa_conv"]) == (
        "unknown paper 'MetaKan'. Did you mean metakan? Known: metakan, sa_conv"
    )
    assert unknown("paper", "zzz", []) == "unknown paper 'zzz'. Known: none"
    with pytest.raises(ValueError, match=r"unknown scale 'cpus'. Did you mean cpu"):
        choose_scale("cpus")


def test_without_any_paper_the_mend_is_told(monkeypatch):
    monkeypatch.setattr(discovery, "GROUP", "nothing.of.this.name")
    with pytest.raises(ValueError, match="no paper is installed: install one"):
        choose([])


def test_list_shows_claims_and_what_is_wrong(toys, here):
    toys.paper(
        "toy_list",
        '@claim("T1", "A [bold] title", source="s", known_gaps={"cpu": "x"})\ndef t(scale, seed): ...\n',
    )
    code, output, _ = here("list")
    assert code == 0
    assert "A [bold] title" in output
    assert "smoke, cpu (known gap), gpu, paper" in output
    assert "not published" in output
    toys.paper("toy_wrong", "def oops(:\n")
    code, output, _ = here("list")
    assert code == 1
    assert "A [bold] title" in output
    assert "not valid Python" in output
    code, _, errors = here("list", "toy_lst")
    assert code == 2
    assert "Did you mean toy_list" in errors


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["--version"], ["reproduce", "--help"]])
def test_the_command_answers_fast_because_it_imports_nothing_heavy(toys, arguments):
    toys.paper("toy", '@claim("T1", "x", source="s")\ndef t(scale, seed): ...\n')
    heavy = "import sys, atexit; atexit.register(lambda: print([m for m in ('torch', 'lightning', 'ray', 'numpy') if m in sys.modules]))\n"
    command = toys.command(*arguments)
    command[3] = heavy + command[3]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, check=False, timeout=20, **toys.options())
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Time on the processor: the clock on the wall also counts what else the machine is doing.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
