"""What the machine offers: device, precision, and the description that goes into a report."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from prune_env.errors import SettingsError
from prune_env.settings import Precision
from prune_env.utils.source import ROOT, source_of, version_of

_PACKAGES = ("prune-env", "torch", "transformers", "gymnasium", "stable-baselines3", "numpy")


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
    return device.type == "cpu" and processor_has_bf16()


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
