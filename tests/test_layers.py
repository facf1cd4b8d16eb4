"""Imports run one way: nothing that defends can reach triggered texts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prune_env

ROOT = Path(prune_env.__file__).parent
RESEARCH = ("prune_env.research",)
"""What reads triggered texts."""

FREE = ("research", "cli")
"""What may import it: research itself and the command line."""


def imported(path):
    """Return every module that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def defence():
    """Return the files of everything that defends; agents and baselines stand beside."""
    own = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in FREE]
    linked = [path for name in ("agents", "baselines") for path in (ROOT / name).rglob("*.py")]
    return sorted({*own, *linked})


@pytest.mark.parametrize("path", defence(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_defence_imports_nothing_that_reads_triggered_texts(path):
    reached = {
        name
        for name in imported(path)
        if f"{name}.".startswith(tuple(f"{package}." for package in RESEARCH))
    }
    assert not reached


def test_the_test_sees_imports():
    """It must be able to fail."""
    assert "prune_env.research.attacks.catalog.make_attack" in imported(ROOT / "cli" / "audit.py")
    names = {path.relative_to(ROOT).as_posix() for path in defence()}
    assert {
        "env/rewards/inverted_trigger.py",
        "purification/purify.py",
        "agents/features.py",
        "baselines/greedy.py",
        "env/head_pruning_env.py",
    } <= names


def test_purifying_loads_none_of_it():
    """Not even through another module or a string of a registry."""
    code = (
        "import sys, prune_env.purification, prune_env.env.rewards.inverted_trigger\n"
        "from prune_env.env.rewards.reward import REWARDS\n"
        "[entry.load() for entry in REWARDS]\n"
        f"sys.exit(any(name.startswith({RESEARCH}) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
