"""Where the texts of attacks come from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prune_env.data.sst2 import foreign_files, sst2_file
from prune_env.research.attacks.own_files import OwnAttack


@dataclass(frozen=True, eq=False)
class AttackSources:
    """Where the texts of attacks come from.

    Attributes:
        folder: Of SST-2 with `hiddenkiller/` and the others, for the published attacks.
        allow_download: Fetch the published files if no folder is given.
        own: Attacks from files of the user's own.
    """

    folder: Path | None = None
    allow_download: bool = False
    own: tuple[OwnAttack, ...] = ()

    def published(self, name: str) -> Path:
        """Return a published file, such as `hiddenkiller/train.tsv`.

        Raises:
            DataError: It is not there, or its download fails.
        """
        return sst2_file(name, self.folder, allow_download=self.allow_download)

    def find_own(self, name: str) -> OwnAttack | None:
        """Return the attack of this name that the user brought."""
        return next((each for each in self.own if each.files.name == name), None)

    def identity(self, attacks: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of what attacks read, by `"attack/file"`.

        Files of the published attacks are left out where they are the published ones: those are
        what the attack's name says already.

        Args:
            attacks: Names.
        """
        found: dict[str, str] = {}
        for name in sorted(set(attacks)):
            own = self.find_own(name)
            found |= foreign_files(name, self.folder) if own is None else own.identity
        return found
