"""Is the package whole where it was installed?"""

import sys
from importlib.machinery import PathFinder

from prune_env.errors import IncompleteError


def check_whole(package: str, *parts: str) -> None:
    """Find parts of the package that symbolic links of a checkout bring in.

    Where an archive or a checkout keeps no links, text files stand in their place, and a wheel is
    built without the parts: whatever needs one would end in an error that names no reason.

    Args:
        package: The dotted name of the package, which is being imported.
        parts: Names of packages in it; they are looked for, not imported.

    Raises:
        IncompleteError: One is not there.
    """
    for part in parts:
        # Beside what is imported: an editable installation would find that of another checkout.
        if PathFinder.find_spec(f"{package}.{part}", sys.modules[package].__path__) is None:
            raise IncompleteError(
                f"{package}.{part} is missing",
                expected="a folder, or in a checkout a symbolic link to one",
                actual="neither, as where a checkout or an archive keeps no symbolic links",
                remedy="check out again after `git config --global core.symlinks true`, or unpack "
                "with a program that keeps links, and install from there",
            )
