"""Packages whose names are imported at first use, so that importing them costs no torch."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` (PEP 562) of a package.

    The package repeats the imports under TYPE_CHECKING, for those who read types, and hides the two
    functions from them: a package with a `__getattr__` has every name.

    Args:
        package: Its `__name__`.
        homes: The module inside the package that defines each name, such as `"env.policy"`.

    Example:
        >>> find, listed = lazy_names("prune_env", {"PruneEnvError": "errors"})
        >>> find("PruneEnvError").__name__, "PruneEnvError" in listed()
        ('PruneEnvError', True)
        >>> find("PruneError")
        Traceback (most recent call last):
        ...
        AttributeError: module 'prune_env' has no attribute 'PruneError'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, listed
