"""Which code runs here; a machine of a cluster is asked before it has imported anything heavy."""

import hashlib
import json
from functools import cache
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
