"""What the machine offers: device, precision, and the description that goes into a report."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, cast, get_args

import torch

from prune_env.errors import SettingsError
from prune_env.settings import Precision
from prune_env.utils.source import ROOT, source_of, version_of

VARIABLE: Final = "PRUNE_ENV_PRECISION"
"""Names the precision that `auto` means in a process and in those that it starts."""

_AUTO: ContextVar[Precision] = ContextVar("auto", default="auto")
_PACKAGES = ("prune-env", "torch", "transformers", "gymnasium", "stable-baselines3", "numpy")


def pick_device() -> torch.device:
    """Return the device to run on: the first GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Resolve a precision setting for a device.

    `auto` is what `auto_means` says, or else the variable PRUNE_ENV_PRECISION, or else bf16 where
    matrix products run in hardware: emulated ones are slower than fp32.

    Raises:
        SettingsError: The variable holds something else.
    """
    if precision == "auto":
        precision = _named() if _AUTO.get() == "auto" else _AUTO.get()
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and processor_has_bf16()


@contextmanager
def auto_means(precision: Precision) -> Iterator[None]:
    """Let `auto` mean a precision for the body, whatever asks; `auto` leaves it as it is."""
    token = _AUTO.set(_AUTO.get() if precision == "auto" else precision)
    try:
        yield
    finally:
        _AUTO.reset(token)


def _named() -> Precision:
    """Return the precision that the environment names."""
    named = os.environ.get(VARIABLE) or "auto"
    if named not in get_args(Precision):
        raise SettingsError(
            f"{VARIABLE} is no precision", expected=", ".join(get_args(Precision)), actual=named
        )
    return cast(Precision, named)


def processor_has_bf16() -> bool:
    """Whether the processor multiplies matrices in bf16."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512_bf16" in flags.read_text("utf-8", "replace")


def describe() -> dict[str, Any]:
    """Return versions, code and machine, as plain JSON values, for the `meta` of a result."""
    device = pick_device()
    versions = {package: version_of(package) for package in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "commit": _commit(),
        "source": source_of(ROOT),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "fast_bf16": use_bf16("auto", device),
        },
    }


def _commit() -> str:
    """Return the commit of the source checkout, or an empty string where there is none."""
    root = ROOT.parent
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
