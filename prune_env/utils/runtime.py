"""What the machine offers: device, precision, and the description that goes into a report."""

import hashlib
import json
import platform
import subprocess
from functools import cache
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from prune_env.errors import SettingsError
from prune_env.settings import Precision
from prune_env.utils.files import sha256_of

_PACKAGES = ("prune-env", "torch", "transformers", "gymnasium", "stable-baselines3", "numpy")
_ROOT = Path(__file__).resolve().parents[1]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device to run on: `auto` takes the first GPU if there is one.

    Raises:
        SettingsError: A GPU was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"Device '{name}' is not available",
            expected="a CUDA build of torch and a visible GPU",
            actual=f"torch {torch.__version__}, no GPU",
            remedy="use --device cpu or --device auto",
        )
    return device


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Resolve a precision setting for a device.

    `auto` is bf16 where matrix products run in hardware: emulated ones are slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512_bf16" in flags.read_text("utf-8", "replace")


def describe() -> dict[str, Any]:
    """Return versions, code and machine, as plain JSON values, for the `meta` of a result."""
    device = pick_device()
    versions = {package: _version(package) for package in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "commit": _commit(),
        "source": _source(_ROOT),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "fast_bf16": use_bf16("auto", device),
        },
    }


def code() -> str:
    """Return which code of the package this process runs, in words."""
    return f"prune-env {_version('prune-env')}, source {_source(_ROOT)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit of the source checkout, or an empty string where there is none."""
    root = _ROOT.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache  # what is changed under a running process is not what it runs
def _source(package: Path) -> str:
    """Return 12 hexadecimal digits of SHA-256 over names and bytes of a package's *.py files.

    `glob` follows the links to agents and baselines, so that a checkout and a wheel are equal.
    """
    names = sorted(
        Path(name).as_posix() for name in glob("**/*.py", root_dir=package, recursive=True)
    )
    hashes = {name: sha256_of(package / name) for name in names}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:12]
