"""Named presets: the YAML files that a paper ships in its folder `configs/`.

The first line of a preset is a comment that says in one line what it trains. Nothing of the package is imported.
"""

import difflib
import importlib.util
from dataclasses import dataclass
from pathlib import Path


class PresetError(ValueError):
    """A preset that does not exist; the message lists the known ones."""


@dataclass(frozen=True)
class Preset:
    """One packaged configuration."""

    name: str
    description: str
    path: Path


def find_presets(package: str) -> dict[str, Preset]:
    """The presets of an installed package by name, in alphabetical order but `smoke` first.

    Raises:
        ModuleNotFoundError: if the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package named {package!r}", name=package)
    folder = Path(next(iter(spec.submodule_search_locations))) / "configs"
    files = sorted(folder.glob("*.yaml"), key=lambda file: (file.stem != "smoke", file.stem))
    return {file.stem: Preset(file.stem, _first_comment(file), file) for file in files}


def resolve(package: str, wanted: str) -> tuple[str, Path]:
    """The name and the file of a preset, or of a configuration file given by its path.

    A name wins over a file of the same name; write `./name` for the file.

    Raises:
        PresetError: if `wanted` is neither.
    """
    presets = find_presets(package)
    if wanted in presets:
        return wanted, presets[wanted].path
    path = Path(wanted).expanduser()
    if path.is_file():
        return path.stem, path
    close = difflib.get_close_matches(wanted, presets, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    known = ", ".join(presets) or "none"
    kind = "no such file" if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 else "unknown preset"
    raise PresetError(f"{kind}: {wanted!r}{hint} Presets of {package}: {known}. A file is given by its path.")


def _first_comment(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        first = next(lines, "").strip()
    return first.lstrip("#").strip() if first.startswith("#") else ""
