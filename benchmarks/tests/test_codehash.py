"""The hash of a claim's code: what changes it, what does not, and that Python versions agree on it."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tenfold_benchmarks import codehash, sources
from tenfold_benchmarks.codehash import closure, code_hash
from tenfold_benchmarks.sources import Sources

LAZY = "import lazy_loader as _lazy\n__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)\n"
PACKAGE = {
    "__init__.py": '"""The door."""\n\n' + LAZY,
    "__init__.pyi": "from .layers import Layer as Layer\nfrom .models import Model as Model, Unused as Unused\n",
    "layers.py": "import math\n\nclass Layer:\n    size = 1\n",
    "models.py": "from .layers import Layer\n\nclass Model:\n    layer = Layer\n\nclass Unused:\n    pass\n",
    "unrelated.py": "x = 1\n",
    "plots/__init__.py": "from .curves import curve\n",
    "plots/curves.py": "def curve():\n    return 1\n",
    "plots/bars.py": "def bar():\n    return 1\n",
    "claims/__init__.py": "from .accuracy import accuracy as accuracy\n",
    "claims/accuracy.py": (
        "from tenfold.claims import Measurement, claim\n"
        "from cliff import Layer\n\n"
        '@claim("T1", "A title", source="s", known_gaps={"cpu": "why"})\n'
        "def accuracy(scale, seed):\n"
        '    """What it measures."""\n'
        "    return Measurement('n', Layer.size, 'n > 0', True)  # a comment\n"
    ),
}
CLAIM = "cliff.claims.accuracy"


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Write the package with some files changed; returns the hash and the closure of its claim."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(changes: dict[str, str] | None = None) -> tuple[str, list[str]]:
        folder = tmp_path / "cliff"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in {**PACKAGE, **(changes or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sources.forget()
        packages = Sources(["cliff", "tenfold"])
        return code_hash(CLAIM, packages), closure(CLAIM, packages)

    return write


def test_the_closure_follows_reexports_to_the_defining_module(hashed):
    assert hashed()[1] == ["cliff.claims.accuracy", "cliff.layers", "tenfold.claims"]


ACCURACY = PACKAGE["claims/accuracy.py"]
SAME = {
    "a comment": {
        "layers.py": "import math  # for later\n\n\n\nclass Layer:\n    size = (\n        1\n    )\n"
    },
    "a docstring": {
        "layers.py": '"""Layers."""\nimport math\n\nclass Layer:\n    """A layer."""\n    size = 1\n'
    },
    "the claim's own docstring": {
        "claims/accuracy.py": ACCURACY.replace("What it measures", "Something else")
    },
    "a reworded title": {"claims/accuracy.py": ACCURACY.replace("A title", "Another title")},
    "a known gap": {"claims/accuracy.py": ACCURACY.replace('"why"', '"why exactly"')},
    "an unrelated module": {"unrelated.py": "x = 2\n"},
    "a module the door also exports": {"models.py": "class Model:\n    pass\n\nclass Unused:\n    x = 3\n"},
    "another export": {"__init__.pyi": PACKAGE["__init__.pyi"] + "from .unrelated import x as x\n"},
    "another claim": {
        "claims/__init__.py": PACKAGE["claims/__init__.py"] + "from .more import more as more\n"
    },
    "other quotes": {"claims/accuracy.py": ACCURACY.replace("'n > 0'", '"n > 0"')},
}
OTHER = {
    "a constant": {"layers.py": "import math\n\nclass Layer:\n    size = 2\n"},
    "an int for a float": {"layers.py": "import math\n\nclass Layer:\n    size = 1.0\n"},
    "a name": {"layers.py": "import math\n\nclass Layer:\n    width = 1\n"},
    "the criterion": {"claims/accuracy.py": ACCURACY.replace("n > 0", "n > 1")},
    "the order of statements": {"layers.py": "class Layer:\n    size = 1\n\nimport math\n"},
    "an operator": {"layers.py": "import math\n\nclass Layer:\n    size = 1 - 0\n"},
    "a door that does something": {"__init__.py": PACKAGE["__init__.py"] + "print('hello')\n"},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME.keys())
def test_what_does_not_compute_does_not_change_the_hash(hashed, changes):
    assert hashed(changes)[0] == hashed()[0]


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER.keys())
def test_what_computes_changes_the_hash(hashed, changes):
    assert hashed(changes)[0] != hashed()[0]


IMPORTS = {
    "inside a function": ("def f():\n    from cliff.unrelated import x\n", "cliff.unrelated"),
    "relative, from the parent": ("from ..unrelated import x\n", "cliff.unrelated"),
    "relative, a module": ("from .. import unrelated\n", "cliff.unrelated"),
    "a module with a dot": ("import cliff.unrelated\n", "cliff.unrelated"),
    "the package as a whole": ("import cliff as c\n", "cliff.models"),
    "a star": ("from cliff.unrelated import *\n", "cliff.unrelated"),
    "through an __init__.py": ("from cliff.plots import curve\n", "cliff.plots.curves"),
    "a submodule that is not exported": ("from cliff.plots import bars\n", "cliff.plots.bars"),
    "a subpackage as a whole": ("from cliff import plots\n", "cliff.plots.curves"),
    "in a try": (
        "try:\n    from cliff.unrelated import x\nexcept ImportError:\n    x = 0\n",
        "cliff.unrelated",
    ),
    "by its name in a string": (
        "import importlib\nm = importlib.import_module('cliff.unrelated')\n",
        "cliff.unrelated",
    ),
    "as module:function": ("entry = 'cliff.unrelated:main'\n", "cliff.unrelated"),
    "a class path": ("entry = 'cliff.Model'\n", "cliff.models"),
}


@pytest.mark.parametrize(("code", "module"), IMPORTS.values(), ids=IMPORTS.keys())
def test_every_way_to_import_is_followed(hashed, code, module):
    assert module not in hashed()[1]
    assert module in hashed({"claims/accuracy.py": code + ACCURACY})[1]


def test_imports_for_type_checkers_only_are_not_followed(hashed):
    code = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cliff.unrelated import x\n"
    assert "cliff.unrelated" not in hashed({"claims/accuracy.py": code + ACCURACY})[1]


def test_a_cycle_of_reexports_ends(hashed):
    changes = {"__init__.pyi": "from .models import Loop as Loop\n", "models.py": "from cliff import Loop\n"}
    code = "from cliff import Loop\n"
    assert "cliff.models" in hashed({**changes, "claims/accuracy.py": code + ACCURACY})[1]


def test_data_files_a_module_names_count(hashed):
    uses = {"layers.py": "from importlib.resources import files\ntable = files('cliff') / 'table.csv'\n"}
    one, two = hashed({**uses, "table.csv": "1,2"}), hashed({**uses, "table.csv": "1,3"})
    assert "cliff/table.csv" in one[1]
    assert one[0] != two[0]
    assert "cliff/table.csv" not in hashed({"table.csv": "1,2"})[1]


def test_presets_count_where_the_claim_runs_them(hashed, tmp_path, monkeypatch):
    preset = {"configs/smoke.yaml": "# one line\nmodel:\n  class_path: cliff.models.Model\n"}
    other = {"configs/smoke.yaml": "# another line\nmodel: {class_path: cliff.models.Model}\n"}
    changed = {"configs/smoke.yaml": "model:\n  class_path: cliff.models.Unused\n"}
    runs = {"claims/accuracy.py": "from cliff.unrelated import x\n" + ACCURACY}
    assert "cliff/configs/smoke.yaml" not in hashed({**preset, **runs})[1]
    monkeypatch.setattr(codehash, "RUNS_PRESETS", {"cliff.unrelated"})
    value, names = hashed({**preset, **runs})
    assert {"cliff/configs/smoke.yaml", "cliff.models"} <= set(names)
    assert hashed({**other, **runs})[0] == value
    assert hashed({**changed, **runs})[0] != value


def test_code_that_does_not_parse_is_named(hashed):
    with pytest.raises(ValueError, match=r"layers.py:1 is not valid Python"):
        hashed({"layers.py": "def oops(:\n"})
    with pytest.raises(ValueError, match=r"module cliff.nothing has no source"):
        code_hash("cliff.nothing", Sources(["cliff"]))


TRICKY = '''
"""Syntax whose tree differs between Python versions in empty fields or in how literals are cut."""
from __future__ import annotations
x, width, name = 3, 4, "a"
texts = [f"a{x}b" "c", f"{x:{width}.2f}", f"{x!r:>{width}}", f"{x=}", f"{{}}{x}" f"", rb"\\x00", u"é", 1e-7, 1j, ...]
def f(a, /, b=1, *c, d: int = 2, **e) -> None:
    "doc"
    async def g(): return [i async for i in a if i]
    match b:
        case {"k": [1, *_], **rest} if rest: return (yield)
        case float(real=r) | [r]: pass
@type
class C(dict, metaclass=type):
    y: int
    "an attribute docstring"
    def m[0:1, ...](self): pass
try:
    with open(name) as h, open(name): del x
except* OSError as error: raise error from None
lambda *a: (b := 1)
'''.replace("    def m[0:1, ...](self): pass\n", "    z = {**{}}[0:1, ...]\n")


def python_executable(version: str) -> str | None:
    """An interpreter of this version: on the path, or where pyenv and uv keep theirs."""
    candidates = [f"python{version}"]
    for pattern in (
        f".pyenv/versions/{version}.*/bin/python",
        f".local/share/uv/python/cpython-{version}.*/bin/python3",
    ):
        candidates += map(str, sorted(Path.home().glob(pattern)))
    for candidate in candidates:
        with contextlib.suppress(OSError):
            answer = subprocess.run(
                [candidate, "-c", "import sys; print(sys.executable)"],
                capture_output=True,
                text=True,
                check=False,
            )
            if answer.returncode == 0:
                return answer.stdout.strip()
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_python_versions_agree_on_the_hash(tmp_path, version):
    python = python_executable(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    (tmp_path / "tricky").mkdir()
    (tmp_path / "tricky/__init__.py").write_text(TRICKY)
    program = (
        "from tenfold_benchmarks.codehash import code_hash; from tenfold_benchmarks.sources import Sources;"
        "print(code_hash('tricky', Sources(['tricky'])))"
    )
    environment = {"PYTHONPATH": f"{Path(codehash.__file__).parents[1]}:{tmp_path}", "PATH": ""}
    found = [
        subprocess.run([p, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
        for p in (python, sys.executable)
    ]
    assert found[0] == found[1]
    assert len(found[0].strip()) == 20


def test_the_list_of_data_sets_is_no_part_of_a_measurement(hashed):
    loads = PACKAGE["claims/accuracy.py"].replace(
        "from cliff", "from tenfold.data import load_digits\nfrom cliff"
    )
    modules = hashed({"claims/accuracy.py": loads})[1]
    assert "tenfold.data.digits" in modules
    assert not any(module.startswith("tenfold.data.registry") for module in modules)
    located = PACKAGE["claims/accuracy.py"].replace("from cliff", "from tenfold.data import root\nfrom cliff")
    modules = hashed({"claims/accuracy.py": located})[1]
    assert "tenfold.data.location" in modules  # which reads the list for its error messages
    assert "tenfold.data.registry" not in modules
