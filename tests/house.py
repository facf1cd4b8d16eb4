"""What the package is made of: its modules, what each names of the others, and their length."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import prune_env

ROOT = Path(prune_env.__file__).parent
FACADE = "prune_env"
"""`prune_env/__init__.py`: it offers the public names of every room and is no room itself."""

_DOTTED = re.compile(r"prune_env(?!\.json)(\.\w+)+(:\w+)?")  # prune_env.json is a file

Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Module:
    """One file of the package.

    Attributes:
        name: Dotted, as it is imported; a package's `__init__` has the package's name.
        path: The file.
    """

    name: str
    path: Path

    @property
    def room(self) -> str:
        """The entry at the top of the package that holds it; the program starts in the last."""
        if self.name == "prune_env.__main__":
            return "cli"
        return self.name.split(".")[1] if "." in self.name else FACADE

    @cached_property
    def source(self) -> str:
        """Its text."""
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.source)

    def named(self) -> Iterator[str]:
        """Yield each dotted name of the package that the file names.

        Imports count wherever they stand (in a function, under TYPE_CHECKING), and so do
        strings such as "prune_env.env.subject:Subject", which a table imports later.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path} imports relatively"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and _DOTTED.fullmatch(str(node.value)):
                yield node.value.replace(":", ".")


def modules() -> dict[str, Module]:
    """Return every module by name; agents and baselines are reached through their links."""
    found = {}
    linked = [place.rglob("*.py") for place in (ROOT / "agents", ROOT / "baselines")]
    for path in {*ROOT.rglob("*.py"), *(each for files in linked for each in files)}:
        parts = (FACADE, *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path)
    return dict(sorted(found.items()))


def edges(known: Mapping[str, Module]) -> Graph:
    """Return, for each module, the modules of the package that it names."""
    return {
        module.name: frozenset(
            target
            for named in module.named()
            if (target := _owner(named, known)) not in (None, module.name)
        )
        for module in known.values()
    }


def rooms(graph: Graph, known: Mapping[str, Module]) -> Graph:
    """Return, for each room, the other rooms that its modules name; the facade is none."""
    found: dict[str, set[str]] = {}
    for name, targets in graph.items():
        room = known[name].room
        reached = {known[target].room for target in targets} - {room, FACADE}
        if room != FACADE:
            found.setdefault(room, set()).update(reached)
    return {room: frozenset(reached) for room, reached in found.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Return each set of nodes that all reach each other (Tarjan's components of over one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def floors(graph: Graph) -> list[set[str]]:
    """Return the rooms floor by floor: each stands on the one below it.

    Raises:
        ValueError: Rooms stand on each other in a circle.
    """
    found: list[set[str]] = []
    left = dict(graph)
    while left:
        built = {room for room, reached in left.items() if not reached & left.keys()}
        if not built:
            raise ValueError(f"a circle among {sorted(left)}")
        found.append(built)
        left = {room: reached for room, reached in left.items() if room not in built}
    return found


def without(graph: Graph, arrows: Iterable[tuple[str, str]]) -> Graph:
    """Return the graph without these arrows."""
    dropped = set(arrows)
    return {
        node: frozenset(target for target in targets if (node, target) not in dropped)
        for node, targets in graph.items()
    }


def _owner(named: str, known: Mapping[str, Module]) -> str | None:
    """Return the module that holds a dotted name: its longest beginning that is a module."""
    parts = named.split(".")
    for end in range(len(parts), 0, -1):
        if (name := ".".join(parts[:end])) in known:
            return name
    return None
