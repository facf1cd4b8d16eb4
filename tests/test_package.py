"""The package's front door."""

import inspect
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

import prune_env
from prune_env.env.registration import ENVIRONMENTS


def test_every_public_name_is_there():
    assert set(prune_env.__all__) == {"__version__", *prune_env._HOMES}
    for name in prune_env.__all__:
        assert getattr(prune_env, name) is not None
    assert set(prune_env.__all__) <= set(dir(prune_env))


@pytest.mark.parametrize(
    "module",
    [
        *("prune_env", "prune_env.data", "prune_env.models", "prune_env.models.onnx"),
        *("prune_env.purification", "prune_env.env.recorded", "prune_env.env.subjects"),
        *("prune_env.research.attacks", "prune_env.research.audit", "prune_env.research.score"),
        *("prune_env.research.recording.fitting", "prune_env.research.recording.table"),
        *("prune_env.research.recording.offline", "prune_env.agents", "prune_env.training"),
    ],
)
def test_paths_may_be_strings(module: str):
    """mypy holds the functions to it."""
    found = import_module(module)
    names = getattr(found, "__all__", [name for name in dir(found) if name[0] != "_"])
    functions = {name: getattr(found, name) for name in names}
    strict = [
        f"{name}({parameter})"
        for name, function in functions.items()
        if inspect.isfunction(function)
        for parameter in inspect.signature(function).parameters.values()
        if "Path" in str(parameter.annotation)
        and "str" not in str(parameter.annotation)
        and "Callable" not in str(parameter.annotation)
    ]
    assert strict == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'HeadPruning'"):
        prune_env.HeadPruning  # noqa: B018


def test_type_checkers_see_which_names_there_are(tmp_path: Path):
    lazy = ("prune_env", "prune_env.models", "prune_env.evaluation")
    program = tmp_path / "program.py"
    program.write_text("".join(f"import {each}\n\n{each}.misspelt\n" for each in lazy), "utf-8")
    files = [str(import_module(each).__file__) for each in lazy]
    alone = ("--config-file=", "--follow-imports=skip", "--ignore-missing-imports")
    command = [sys.executable, "-m", "mypy", *alone, "--cache-dir", str(tmp_path), str(program)]
    told = subprocess.run([*command, *files], capture_output=True, check=False, text=True)
    assert told.stdout.count('Module has no attribute "misspelt"') == 3, told


@pytest.mark.parametrize("left", ["a text file", "nothing"])
def test_a_copy_without_symbolic_links_says_so(left: str, tmp_path: Path):
    """As a ZIP archive is unpacked on Windows, and a wheel that was built from that."""
    source = Path(prune_env.__file__).parent
    copy = tmp_path / "prune_env"
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("agents", "*.npz"))
    if left == "a text file":
        (copy / "agents").write_text("../agents", "utf-8")
    command = [sys.executable, "-c", "import prune_env"]
    told = subprocess.run(command, capture_output=True, check=False, text=True, cwd=tmp_path)
    assert "prune_env.agents is missing" in told.stderr.splitlines()[-1]
    assert "core.symlinks" in told.stderr.splitlines()[-1]


def test_importing_is_light():
    """Of the package, and of what a machine of a cluster is asked before it is given anything."""
    code = (
        "import sys, prune_env, prune_env.utils.source\n"
        "import prune_env.research.benchmark.cluster.begun\n"
        "print({'torch', 'transformers', 'scipy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "set()"


def test_the_module_may_be_named_in_the_id():
    code = "import gymnasium; print(gymnasium.make('prune_env:prune_env/Landscape-v0').spec.id)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "prune_env/Landscape-v0"


def test_every_id_is_registered_with_its_table_entry():
    for entry in ENVIRONMENTS:
        spec = gym.spec(entry.name)
        assert spec.kwargs == entry.load().kwargs
        assert spec.max_episode_steps == entry.load().max_episode_steps
        assert isinstance(spec.entry_point, str)
        assert isinstance(spec.vector_entry_point, str)
        assert spec.to_json()
