"""The hash of the code a claim depends on: equal hash, equal measurement.

It covers the module that defines the claim and, transitively, every first-party module that one imports (the paper's
package and `tenfold`), also inside functions; names re-exported by a package's `__init__.pyi` or `__init__.py` lead to
the module that defines them, so that an unrelated export changes nothing. Data files of the package that a module
names, and the packaged presets where the closure runs them (`tenfold.cli`), count too. Third-party versions are
recorded with a result but are no part of the hash.

Hashed is the syntax tree without positions: comments, formatting and docstrings do not matter, nor does the Python
version (3.11 to 3.13 differ in empty fields only, which are skipped). The arguments of `@claim(...)` describe and do
not compute, so a reworded title or a known gap written down after the run does not make the result stale.
"""

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tenfold_benchmarks.sources import Sources, imports, parse

RUNS_PRESETS = {"tenfold.cli", "tenfold.presets"}
DESCRIBES = {"tenfold.data.registry"}
"""Modules that compute nothing: error messages and downloads read the list of data sets, measurements do not."""
_DATA_FILE = re.compile(r"[\w-][\w./-]*\.\w+")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+(?::\w+)?")


def code_hash(module: str, sources: Sources) -> str:
    """The hash (20 hexadecimal digits) of the code behind the claims that `module` defines.

    Raises:
        ValueError: if the module has no source, or some module it needs is not valid Python.
    """
    digest = hashlib.sha256()
    for name, content in sorted(_closure(module, sources).items()):
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()[:20]


def closure(module: str, sources: Sources) -> list[str]:
    """Names of everything that `code_hash` covers: modules, and data files as `package/path`."""
    return sorted(_closure(module, sources))


def _closure(module: str, sources: Sources) -> dict[str, str]:
    if sources.file(module) is None:
        raise ValueError(f"module {module} has no source file in {', '.join(sources.roots) or 'any package'}")
    paper = module.partition(".")[0]
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in sources.read:  # the claims of a paper share most of their modules
            sources.read[name] = _read(name, paper, sources)
        contents, targets = sources.read[name]
        found.update(contents)
        waiting += targets
    return found


def _read(module: str, paper: str, sources: Sources) -> tuple[dict[str, str], list[str]]:
    """What a module adds to the hash (itself and data files), and the modules it leads to."""
    file = sources.file(module)
    if file is None or module in DESCRIBES:
        return {}, []
    contents = {module: _tree_hash(parse(file))}
    targets = _imported(module, file, sources) + _parents(module, sources)
    for text in _strings(parse(file)):
        targets += _module_named(text, sources)
        contents.update(_data_named(text, file, module, sources))
    if module in RUNS_PRESETS:
        for preset in sorted((sources.roots[paper] / "configs").glob("*.yaml")):
            settings = _settings(preset)
            contents[f"{paper}/configs/{preset.name}"] = json.dumps(settings, sort_keys=True, default=str)
            for text in _texts(settings):
                targets += _module_named(text, sources)
    return contents, targets


def _imported(module: str, file: Path, sources: Sources) -> list[str]:
    """The first-party modules that a module's import statements lead to."""
    targets: list[str] = []
    for node in imports(file):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if sources.owns(alias.name):
                    targets += _whole(alias.name, sources)
                    if alias.asname is None:  # binds the top-level name: anything may be reached through it
                        targets += _whole(alias.name.partition(".")[0], sources)
            continue
        origin = sources.absolute(module, node.level, node.module)
        if not sources.owns(origin):
            continue
        for alias in node.names:
            if alias.name == "*":
                targets += _whole(origin, sources)
            else:
                home, name = sources.resolve(origin, alias.name)
                targets += _whole(home, sources) if name is None else [home]
    return targets


def _whole(module: str, sources: Sources) -> list[str]:
    """A module used as a whole: itself, or, where it is only a door, everything behind the door."""
    if not _is_door(module, sources):
        return [module]
    homes = [sources.resolve(module, name) for name in sources.exports(module)]
    return [home for home, _ in homes if home != module]


def _parents(module: str, sources: Sources) -> list[str]:
    """The packages around a module whose `__init__.py` does something when it is imported."""
    parts = module.split(".")
    packages = [".".join(parts[:i]) for i in range(1, len(parts))]
    return [package for package in packages if not _is_door(package, sources)]


def _is_door(module: str, sources: Sources) -> bool:
    """Whether a package's `__init__.py` holds nothing but imports, `__all__`, and the lazy attachment of its stub."""
    file = sources.file(module)
    if file is None or file.name != "__init__.py":
        return False
    for node in parse(file).body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            continue
        if not isinstance(node, ast.Assign):
            return False
        names = {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        if not names <= {"__all__", "__getattr__", "__dir__", "__version__"}:
            return False
    return True


def _is_text(node: ast.stmt) -> bool:
    """A docstring, or any other string that stands as a statement and so does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _strings(tree: ast.Module) -> set[str]:
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str) and len(value) < 200}


def _texts(value: Any) -> set[str]:
    """Every string in a tree of lists and dictionaries."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*(_texts(item) for item in value))
    return {value} if isinstance(value, str) else set()


def _module_named(text: str, sources: Sources) -> list[str]:
    """The module that a string such as `metakan.module.LitClassifier` or `metakan.task:main` names."""
    if not _DOTTED.fullmatch(text) or not sources.owns(text):
        return []
    dotted, _, attribute = text.partition(":")
    if sources.file(dotted) is not None:
        home, name = sources.resolve(dotted, attribute) if attribute else (dotted, None)
    else:
        module, _, attribute = dotted.rpartition(".")
        if sources.file(module) is None:
            return []
        home, name = sources.resolve(module, attribute)
    return _whole(home, sources) if name is None else [home]


def _data_named(text: str, file: Path, module: str, sources: Sources) -> dict[str, str]:
    """The data file, beside the module or in the package, that a string names."""
    if not _DATA_FILE.fullmatch(text) or ".." in text:
        return {}
    package = module.partition(".")[0]
    root = sources.roots[package]
    for path in (file.parent / text, root / text):
        if path.is_file() and path.suffix not in {".py", ".pyi"}:
            return {f"{package}/{path.relative_to(root)}": hashlib.sha256(path.read_bytes()).hexdigest()}
    return {}


def _settings(preset: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(preset.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{preset} is not valid YAML: {error}") from error


def _tree_hash(tree: ast.Module) -> str:
    digest = hashlib.sha256()
    _feed(tree, digest)
    return digest.hexdigest()


def _feed(node: Any, digest: Any) -> None:
    """Walk a syntax tree, skipping what carries no meaning."""
    if isinstance(node, list):
        digest.update(b"[")
        for item in node:
            if not (isinstance(item, ast.stmt) and _is_text(item)):
                _feed(item, digest)
        digest.update(b"]")
    elif isinstance(node, ast.JoinedStr):
        digest.update(b"(JoinedStr")
        for part in _merged(node.values):
            _feed(part, digest)
        digest.update(b")")
    elif isinstance(node, ast.AST):
        digest.update(f"({type(node).__name__}".encode())
        for name in node._fields:
            value = getattr(node, name, None)
            if name in {"ctx", "kind", "type_comment", "type_ignores"} or value is None or value == []:
                continue
            if name == "decorator_list":
                value = [_without_description(item) for item in value]
            if isinstance(value, list) and all(
                isinstance(item, ast.stmt) and _is_text(item) for item in value
            ):
                continue
            digest.update(f" {name}=".encode())
            _feed(value, digest)
        digest.update(b")")
    else:
        digest.update(f"{type(node).__name__}:{node!r}".encode())


def _merged(parts: list[ast.expr]) -> list[ast.expr | str]:
    """The parts of an f-string, neighbouring literals joined and empty ones dropped, as Python versions differ."""
    merged: list[ast.expr | str] = []
    for part in parts:
        text = part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None
        if text is None:
            merged.append(part)
        elif text and merged and isinstance(merged[-1], str):
            merged[-1] += text
        elif text:
            merged.append(text)
    return merged


def _without_description(decorator: ast.expr) -> ast.expr:
    """`@claim(…)` without its arguments."""
    if isinstance(decorator, ast.Call):
        function = decorator.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
        if name == "claim":
            return function
    return decorator
