"""What holds the house together, a rule a test; docs/architecture.md tells the reasons."""

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.house import FACADE, ROOT, Graph, circles, edges, floors, modules, rooms, without

READY_MADE = ("prune_env.env.subjects", "prune_env.research.attacks.ready_made")
"""The one arrow up: an environment's ready-made models have backdoors that research plants."""

LAYERS = (
    {"errors"},
    {"settings", "utils"},
    {"data"},
    {"models"},
    {"evaluation", "training", "importance"},
    {"inversion"},
    {"env"},
    {"agents", "baselines", "purification"},
    {"research"},
    {"cli"},
)
"""The written order, lowest first: a room may name rooms of its own layer and below."""

MODULES = modules()


# Every file is parsed for it: not while tests are collected, in each process that runs some.
@cache
def every_arrow() -> Graph:
    return edges(MODULES)


@cache
def arrows() -> Graph:
    return without(every_arrow(), [READY_MADE])


@cache
def house() -> Graph:
    return rooms(arrows(), MODULES)


def test_the_graph_sees_imports_behind_links_and_in_strings() -> None:
    """Every rule below stands on it, so it must not be empty-handed."""
    assert READY_MADE[1] in every_arrow()[READY_MADE[0]]  # a string
    assert "prune_env.errors" in every_arrow()["prune_env.agents.checkpoint"]  # behind a link
    assert "prune_env.models.catalog" in every_arrow()["prune_env.cli.purify"]  # in a function
    assert "prune_env.models.loading" not in arrows()["prune_env.errors"]


def test_graphs_of_known_shape() -> None:
    """The rules can fail: a circle is found, and floors are counted."""
    line: Graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset()}
    ring: Graph = {**line, "c": frozenset("a")}
    assert circles(line) == []
    assert circles(ring) == [["a", "b", "c"]]
    assert floors(line) == [{"c"}, {"b"}, {"a"}]
    with pytest.raises(ValueError, match="circle"):
        floors(ring)
    assert circles(without(ring, [("c", "a")])) == []


def test_at_most_18_entries_at_the_top() -> None:
    """`__main__.py` has its place among them; a watch page lives under cli/ or takes the last."""
    entries = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= 18, sorted(entries)


def test_every_room_has_its_layer() -> None:
    assert set(house()) - {"__main__"} == set().union(*LAYERS)


def test_nothing_but_research_and_the_command_line_names_research() -> None:
    """What may see a trigger lives there: no defence can read one, not even by mistake."""
    guilty = {
        (name, target)
        for name, targets in arrows().items()
        for target in targets
        if MODULES[target].room == "research" and MODULES[name].room not in ("research", "cli")
    }
    assert not guilty


def test_purifying_loads_nothing_of_research() -> None:
    """Not even through a name that is put together while the program runs."""
    code = (
        "import sys, prune_env.purification, prune_env.env.rewards.inverted_trigger\n"
        "import prune_env.env.head_pruning_env, prune_env.agents, prune_env.baselines\n"
        "import prune_env.importance, prune_env.evaluation\n"
        "from prune_env.env.rewards.reward import REWARDS\n"
        "[entry.load() for entry in REWARDS]\n"
        "sys.exit(any(name.startswith('prune_env.research') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_imports_from_the_facade() -> None:
    """`import prune_env` inside the package would close a circle through every public name."""
    assert not [name for name, targets in arrows().items() if FACADE in targets]


def test_imports_run_in_the_written_order() -> None:
    height = {room: at for at, layer in enumerate(LAYERS) for room in layer}
    upward = {
        (name, target)
        for name, targets in arrows().items()
        for target in targets
        if height.get(MODULES[target].room, -1) > height.get(MODULES[name].room, len(LAYERS))
    }
    assert not upward


def test_at_most_11_floors() -> None:
    built = floors(house())
    assert len(built) <= 11, built


def test_no_circle_of_modules() -> None:
    """Also none behind the two links, or behind a name in a string."""
    assert circles(arrows()) == []


def test_class_names_are_unique() -> None:
    homes: dict[str, list[str]] = {}
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(module.name)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_no_module_over_300_lines() -> None:
    lengths = {name: len(module.source.splitlines()) for name, module in MODULES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_no_function_over_60_lines() -> None:
    """From `def` to the last line, the docstring included."""
    long = {
        f"{module.name}.{node.name}": lines
        for module in MODULES.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert long == {}
