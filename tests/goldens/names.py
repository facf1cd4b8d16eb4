"""What can be named from outside: lists, ids, verbs with their options, imports, addresses."""

import ast
import contextlib
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym

import prune_env
import prune_env.agents
import prune_env.baselines
from prune_env.cli import main
from tests.goldens.internal import grid_addresses

ROOT = Path(__file__).parents[2]
GRIDS = ("rotten-tomatoes", "sst2")
IDENTITY = {"data": "0" * 64, "model": "1" * 64, "hidden-killer/texts": "2" * 64}
_OPTION = re.compile(r"(--[a-z][\w-]*)(?: (\S.*?))?(?: {2,}(.*))?$")


def output(*arguments: object) -> tuple[int, str]:
    """Return the exit status of `prune-env` with these arguments, and its standard output."""
    printed = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(printed), patch.dict(os.environ, {"COLUMNS": "90"}):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    printed.seek(0)
    return status, printed.read()


def listed() -> dict[str, dict[str, str]]:
    """Return kind -> name -> help, as `prune-env list --json` prints them."""
    values: dict[str, dict[str, str]] = json.loads(output("list", "--json")[1])
    return values


def specs() -> dict[str, Any]:
    """Return the specification of each id; of entry points, only whether there is one."""
    found = {}
    for name in sorted(gym.registry):
        if not name.startswith("prune_env/"):
            continue
        spec = json.loads(gym.spec(name).to_json())
        for key in ("entry_point", "vector_entry_point"):
            spec[key] = spec[key] is not None
        found[name] = spec
    return found


def verbs() -> list[str]:
    """Return the verbs that `prune-env --help` names."""
    return re.findall(r"^  ([a-z]+) {2,}\S", output("--help")[1], re.MULTILINE)


def options_of(verb: str) -> dict[str, Any]:
    """Return the arguments of a verb as its help shows them.

    Returns:
        `arguments`: what stands behind the options in the usage; `options`: by name, the value
        that it takes, and its default (None where it is required, "" where none is said).
    """
    _, text = output(verb, "--help")
    usage = " ".join(text.split("\n\n")[0].split())
    options: dict[str, Any] = {}
    said: list[str] = []
    names: list[str] = []  # of one option, which may have several
    for line in [each[2:-2].rstrip() for each in text.splitlines() if each.startswith("│ ")]:
        found = _OPTION.match(line)
        if found:
            names, said = [], [found[3] or ""]
            for form in f"{found[1]} {found[2] or ''}".split(", "):
                name, _, value = form.strip().partition(" ")
                names.append(name)
                options[name] = [value, ""]
        elif not line.startswith(" "):
            names = []
        elif names:
            said.append(line.strip())
        for name in names:
            told = " ".join(said).strip()
            default = re.search(r"\(default: (.*)\)$", told)
            unsaid = None if told.endswith("(required)") else ""
            options[name][1] = default[1] if default else unsaid
    return {"arguments": usage.split("]")[-1].strip(), "options": options}


def documented_imports() -> dict[str, list[str]]:
    """Return the import statements of every document's python blocks and of every example."""
    found = {}
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for document in documents:
        blocks = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
        found[str(document.relative_to(ROOT))] = [
            line for block in blocks for line in _imports(block)
        ]
    for example in sorted((ROOT / "examples").glob("*.py")):
        found[str(example.relative_to(ROOT))] = _imports(example.read_text("utf-8"))
    return {name: lines for name, lines in found.items() if lines}


def _imports(code: str) -> list[str]:
    kinds = (ast.Import, ast.ImportFrom)
    return [ast.unparse(node) for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]


def public_names() -> dict[str, list[str]]:
    """Return `__all__` of the packages that users import."""
    packages = (prune_env, prune_env.agents, prune_env.baselines)
    return {package.__name__: sorted(package.__all__) for package in packages}


def addresses(grid: str) -> dict[str, Any]:
    """Return how many cells a grid has, a hash of all their addresses, and the first 20."""
    cells = grid_addresses(grid, IDENTITY)
    joined = "\n".join(sorted(key for key, _ in cells))
    return {
        "cells": len(cells),
        "sha256_of_sorted": hashlib.sha256(joined.encode()).hexdigest(),
        "first": dict(cells[:20]),
    }
