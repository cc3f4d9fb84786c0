"""Which papers are installed and what they claim, read from their source without importing them.

A paper is an entry point of the group `tenfold.claims`, whose value is its module of claims. A claim is a function
decorated with `@claim(…)`, whose arguments are literals; the module may be a package that imports its claims from
submodules by name.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from importlib import metadata
from typing import Any

from tenfold.claims import Scale, Value
from tenfold_benchmarks.codehash import code_hash
from tenfold_benchmarks.sources import Sources, parse

GROUP = "tenfold.claims"


@dataclass(frozen=True)
class ListedClaim:
    """What `@claim(…)` says, and where: as `tenfold.claims.Claim`, but without the function."""

    paper: str
    id: str
    title: str
    source: str
    published: Value
    scales: tuple[str, ...]
    known_gaps: dict[str, str]
    cpus: int
    module: str


@dataclass(frozen=True)
class Paper:
    """An installed paper.

    Args:
        name: the name of its entry point.
        module: the module (or package) that exports its claims.
    """

    name: str
    module: str
    _hashes: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def sources(self) -> Sources:
        return Sources(dict.fromkeys([self.module.partition(".")[0], "tenfold"]))

    @cached_property
    def claims(self) -> dict[str, ListedClaim]:
        """The claims by id, in the order of their ids: C2 comes before C10.

        Raises:
            ValueError: if they cannot be read: no such module, an argument that is no literal, an id given twice.
        """
        found: dict[str, ListedClaim] = {}
        for listed in _listed(self.name, self.module, self.sources):
            if found.setdefault(listed.id, listed) != listed:
                raise ValueError(f"{self.module} has two claims named {listed.id!r}")
        if not found:
            raise ValueError(
                f"{self.module} exports no claim; decorate a function with @tenfold.claims.claim"
            )
        return dict(sorted(found.items(), key=lambda item: _counted(item[0])))

    def code_hash(self, claim: str) -> str:
        """The hash of the code behind a claim; see `codehash`."""
        module = self.claims[claim].module
        if module not in self._hashes:
            self._hashes[module] = code_hash(module, self.sources)
        return self._hashes[module]


def papers() -> dict[str, Paper]:
    """The installed papers by name, sorted."""
    points = sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name)
    found: dict[str, Paper] = {}
    for point in points:
        # An editable install and its source folder may both be on the path: the first one is what Python imports.
        found.setdefault(point.name, Paper(point.name, point.value.partition(":")[0]))
    return found


def choose(names: Iterable[str]) -> list[Paper]:
    """The papers of these names, or all installed ones if there is no name.

    Raises:
        ValueError: if a name is not that of an installed paper, or none is installed; lists the known ones.
    """
    known = papers()
    chosen = list(dict.fromkeys(names)) or list(known)
    for name in chosen:
        if name not in known:
            raise ValueError(unknown("paper", name, known))
    if not chosen:
        raise ValueError("no paper is installed: install one, e.g. `pip install ./shared ./projects/metakan`")
    return [known[name] for name in chosen]


def choose_scale(name: str) -> Scale:
    """The scale of this name.

    Raises:
        ValueError: if there is none; lists the known ones.
    """
    if name not in set(Scale):
        raise ValueError(unknown("scale", name, list(Scale)))
    return Scale(name)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """An error message for a name that is not known, with the nearest known ones first."""
    names = [str(item) for item in known]
    folded = {item.lower(): item for item in names}
    near = [folded[item] for item in get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}"


def _counted(claim: str) -> list[tuple[int, str]]:
    """An id cut into words and numbers, so that it sorts as people count."""
    parts = re.findall(r"\d+|\D+", claim)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _listed(paper: str, module: str, sources: Sources) -> list[ListedClaim]:
    """The claims among a module's names, in the order in which importing it would bind them."""
    file = sources.file(module)
    if file is None:
        raise ValueError(f"paper {paper}: there is no module {module}")
    found = []
    for node in parse(file).body:
        if isinstance(node, ast.FunctionDef):
            found += _decorated(paper, module, node, sources)
        elif isinstance(node, ast.ImportFrom):
            origin = sources.absolute(module, node.level, node.module)
            for alias in node.names:
                if alias.name == "*" and sources.owns(origin):
                    raise ValueError(f"{file}:{node.lineno} imports *; import the claims by name")
                if sources.owns(origin):
                    found += _exported(paper, *sources.resolve(origin, alias.name), sources)
    return found


def _exported(paper: str, module: str, name: str | None, sources: Sources) -> list[ListedClaim]:
    file = sources.file(module)
    if name is None or file is None:
        return []
    functions = [n for n in parse(file).body if isinstance(n, ast.FunctionDef) and n.name == name]
    return [listed for node in functions for listed in _decorated(paper, module, node, sources)]


def _decorated(paper: str, module: str, node: ast.FunctionDef, sources: Sources) -> list[ListedClaim]:
    """The claim that a function is, if it is decorated with `@claim(…)`."""
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else None
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
        if name == "claim" and isinstance(decorator, ast.Call):
            try:
                return [_from_call(paper, module, decorator)]
            except (ValueError, TypeError, KeyError) as error:
                place = f"{sources.file(module)}:{decorator.lineno}"
                raise ValueError(
                    f"{place}: the arguments of @claim must be literals, with id, title and source ({error})"
                ) from error
    return []


def _from_call(paper: str, module: str, call: ast.Call) -> ListedClaim:
    arguments: dict[str, Any] = dict(zip(("id", "title"), map(ast.literal_eval, call.args), strict=False))
    arguments |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return ListedClaim(
        paper=paper,
        id=arguments["id"],
        title=arguments["title"],
        source=arguments["source"],
        published=arguments.get("published"),
        scales=tuple(arguments.get("scales", tuple(str(scale) for scale in Scale))),
        known_gaps=dict(arguments.get("known_gaps") or {}),
        cpus=arguments.get("cpus", 1),
        module=module,
    )
