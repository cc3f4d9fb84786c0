"""`tenfold new`: a paper's folder with the floor plan of the house, from the templates beside this file.

A template is a file `<name>.tmpl`; in its text and its path `__paper__` and `__title__` are replaced.
"""

import importlib.util
import keyword
import re
import shutil
import sys
import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tenfold_benchmarks.files import write_whole

SUFFIX = ".tmpl"


def add_paper(root: Path, name: str, title: str = "") -> list[str]:
    """Create `projects/<name>` and add it to the workspace's pyproject.toml.

    Args:
        root: the workspace.
        name: name of the package; also of its command.
        title: title of the paper; the name if empty.

    Returns:
        what was done and what comes next, line by line.

    Raises:
        ValueError: if the name is no free package name, or the title has characters that TOML or Python would trip over.
        FileExistsError: if there is a folder of this name.
    """
    _check_name(name)
    title = title.strip() or name
    if any(character in title for character in '"\\{}\n'):
        raise ValueError(f"title must not contain quotes, backslashes, braces or line breaks, got {title!r}")
    folder = root / "projects" / name
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: choose another name, or remove it")
    try:
        for path, text in _rendered(
            files("tenfold_benchmarks") / "template", "", {"paper": name, "title": title}
        ):
            write_whole(folder / path, text)
        added = _add_to_workspace(root / "pyproject.toml", name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return [
        f"created {folder}",
        *added,
        "next:",
        "  uv sync",
        f"  uv run pytest projects/{name} -n0",
        f"  uv run tenfold reproduce {name}        # its claim fails until it is written",
        f"  then replace the stand-ins: layers.py, claims.py, README.md of projects/{name}",
    ]


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"paper must be a package name in lower case with underscores, e.g. my_paper; got {name!r}"
        )
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise ValueError(f"paper must be a name that no installed package has, got {name!r}")


def _rendered(folder: Traversable, prefix: str, values: dict[str, str]) -> list[tuple[str, str]]:
    """Path and text of every file that the templates make."""
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        path = prefix + _filled(item.name, values)
        if item.is_dir():
            found += _rendered(item, path + "/", values)
        elif item.name.endswith(SUFFIX):
            found.append((path.removesuffix(SUFFIX), _filled(item.read_text(encoding="utf-8"), values)))
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"__{key}__", value)
    return text


def _add_to_workspace(pyproject: Path, name: str) -> list[str]:
    """Add the paper where the root lists its members by name; what cannot be found is told instead."""
    text = pyproject.read_text(encoding="utf-8")
    wanted = (
        (
            "[project] dependencies",
            r"^dependencies = \[\n(?:[^\]]|\](?!\n))*?(?=^\]\n)",
            f'    "{name}[train]",\n',
        ),
        ("[tool.uv.sources]", r"^\[tool\.uv\.sources\]\n(?:\S.*\n)*", f"{name} = {{ workspace = true }}\n"),
        ("[tool.mypy] packages", r"^packages = \[[^\]\n]*(?=\])", f', "{name}"'),
    )
    told = []
    for place, pattern, line in wanted:
        found = re.search(pattern, text, re.MULTILINE)
        if found is None:
            told.append(f"add to {place} of {pyproject}: {line.strip(' ,').rstrip()}")
        else:
            text = text[: found.end()] + line + text[found.end() :]
    tomllib.loads(text)  # before it is written
    write_whole(pyproject, text)
    return [f"added {name} to {pyproject}", *told]
