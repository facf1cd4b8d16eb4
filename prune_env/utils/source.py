"""Which code runs here; a machine of a cluster is asked before it has imported anything heavy."""

import hashlib
import json
import sys
from functools import cache
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prune_env.utils.files import sha256_of

ROOT = Path(__file__).resolve().parents[1]
"""The package's folder."""


def code() -> str:
    """Return which code of the package this process runs, in words."""
    return f"prune-env {version_of('prune-env')}, source {source_of(ROOT)}"


def version_of(package: str) -> str:
    """Return the version of an installed package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def source_of_others(thing: Any) -> str | None:
    """Return which code of others defines a class, function or object, as `source_of` tells it.

    That of a package is all of the package, that of a script the script. None for what is defined
    in this package, or in no file.
    """
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or Path(file).is_relative_to(ROOT):
        return None
    package = sys.modules.get(module.__name__.partition(".")[0], module)
    whole = getattr(package, "__file__", None) if hasattr(package, "__path__") else None
    return _source_of_file(Path(file)) if whole is None else source_of(Path(whole).parent)


@cache
def _source_of_file(file: Path) -> str | None:
    return sha256_of(file)[:12] if file.is_file() else None


@cache  # what is changed under a running process is not what it runs
def source_of(package: Path) -> str:
    """Return 12 hexadecimal digits of SHA-256 over names and bytes of a package's *.py files.

    `glob` follows the links to agents and baselines, so that a checkout and a wheel are equal.
    """
    names = sorted(
        Path(name).as_posix() for name in glob("**/*.py", root_dir=package, recursive=True)
    )
    hashes = {name: sha256_of(package / name) for name in names}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:12]
