"""Packages read as source: which file is a module, what it imports, where an exported name is defined.

Nothing is imported: `tenfold list` and code hashes must not pay for torch, nor run a paper's code.
"""

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once.

    Raises:
        ValueError: if the file is not valid Python; names the file and the line.
    """
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise ValueError(f"{path}:{error.lineno} is not valid Python: {error.msg}") from error


class Sources:
    """The modules of some top-level packages.

    Args:
        packages: names of the first-party packages; imports of anything else are of no interest.

    Example:
        >>> sources = Sources(["tenfold"])
        >>> sources.file("tenfold.claims").name
        'claims.py'
        >>> sources.resolve("tenfold.claims", "Claim")
        ('tenfold.claims', 'Claim')
    """

    def __init__(self, packages: Iterable[str]):
        self.roots: dict[str, Path] = {}
        self.read: dict[str, tuple[dict[str, str], list[str]]] = {}  # kept by `codehash` between claims
        for package in packages:
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                self.roots[package] = Path(next(iter(spec.submodule_search_locations)))

    def owns(self, module: str) -> bool:
        return module.partition(".")[0] in self.roots

    def file(self, module: str) -> Path | None:
        """The source of a module; of a package, its `__init__.py`. None where there is no such file."""
        top, *rest = module.split(".")
        if top not in self.roots:
            return None
        path = self.roots[top].joinpath(*rest)
        package = path / "__init__.py"
        if package.is_file():
            return package
        return path.with_suffix(".py") if rest and path.with_suffix(".py").is_file() else None

    def is_package(self, module: str) -> bool:
        file = self.file(module)
        return file is not None and file.name == "__init__.py"

    def absolute(self, module: str, level: int, name: str | None) -> str:
        """The full name of what `from <level dots><name> import …` in `module` reads from."""
        if level == 0:
            return name or ""
        parts = module.split(".")
        base = parts[: len(parts) - level + (1 if self.is_package(module) else 0)]
        return ".".join([*base, *([name] if name else [])])

    def exports(self, package: str) -> dict[str, tuple[str, str]]:
        """What a package's door re-exports: public name -> (module it comes from, name there).

        Read from `__init__.pyi` where there is one (lazy packages), and from `__init__.py`.
        """
        found: dict[str, tuple[str, str]] = {}
        init = self.file(package)
        if init is None or init.name != "__init__.py":
            return found
        for path in (init, init.with_suffix(".pyi")):
            if not path.is_file():
                continue
            for node in imports(path):
                if isinstance(node, ast.ImportFrom):
                    origin = self.absolute(package, node.level, node.module)
                    if self.owns(origin):
                        found.update(
                            {a.asname or a.name: (origin, a.name) for a in node.names if a.name != "*"}
                        )
        return found

    def resolve(self, module: str, name: str) -> tuple[str, str | None]:
        """Where `from module import name` gets its object: (defining module, name), or (submodule, None)."""
        seen = set()
        while (module, name) not in seen:
            seen.add((module, name))
            exported = self.exports(module).get(name)
            if exported is not None and exported not in seen:
                module, name = exported
            elif self.is_package(module) and self.file(f"{module}.{name}") is not None:
                return f"{module}.{name}", None
        return module, name


@cache
def imports(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Every import statement of a file, also those inside functions, but not those under `if TYPE_CHECKING:`."""
    return tuple(_imports(parse(path)))


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for statement in node.orelse:
                yield from _imports(ast.Module([statement], []))
        elif not isinstance(node, ast.expr):  # an expression holds no statement
            yield from _imports(node)


def forget() -> None:
    """Drop what was read, because files have changed."""
    parse.cache_clear()
    imports.cache_clear()


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
