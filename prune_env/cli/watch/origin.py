"""Which model and data a run is of, so that the page can ask the model itself."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune_env.cli.options import TableOptions
from prune_env.errors import ModelError, SettingsError, StateError
from prune_env.utils.events import ORIGIN
from prune_env.utils.files import read_json
from prune_env.utils.plain import from_plain, to_plain

if TYPE_CHECKING:
    from prune_env.evaluation.suspect import Suspect


@dataclass(frozen=True)
class Origin:
    """What a run was started with, as far as it says which model answers on which texts.

    Attributes:
        model: Folder or name of the model.
        data: The clean data.
        validation: Clean data on which masks are judged, where that is given.
        validation_share: The share of `data` that is taken otherwise.
        seed: Of that split.
        tables: How tables are read.
        env: Of a run of `train`: id of the environment, which may know model and data itself.
        max_length: Tokens kept of a sentence.
    """

    model: str | None = None
    data: str | None = None
    validation: str | None = None
    validation_share: float = 0.2
    seed: int = 0
    tables: TableOptions = field(default_factory=TableOptions)
    env: str | None = None
    max_length: int = 128

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, paths from the root on: a page may be opened from elsewhere."""
        plain: dict[str, Any] = json.loads(json.dumps(to_plain(self), default=str))
        for name in ("model", "data", "validation"):
            if value := plain[name]:
                plain[name] = self._from_anywhere(name, value)
        if (folder := self.tables.data_folder) is not None:
            plain["tables"]["data_folder"] = str(folder.resolve())
        return plain

    def _from_anywhere(self, name: str, value: str) -> str:
        from prune_env.env.subjects import from_anywhere

        if name == "model" and self.env is None:  # a folder wins over a name there
            return str(Path(value).resolve()) if Path(value).exists() else value
        return from_anywhere("model" if name == "model" else "data", value)

    def load(self, run: Path) -> "tuple[Suspect, str]":
        """Return the classifier with its clean texts, and which of the run's models it is.

        Args:
            run: Folder of the run, whose purified model is taken where the suspicious one is an
                encoder: what the run made of that is kept nowhere else.

        Raises:
            PruneEnvError: Model or data cannot be loaded, or there is no classifier.
        """
        if self.env is not None:
            return self._of_environment(self.env)
        assert self.model is not None
        assert self.data is not None
        return self._of_folder(self.model, self.data, run)

    def _of_environment(self, env: str) -> "tuple[Suspect, str]":
        from prune_env.env.registration import ENVIRONMENTS
        from prune_env.env.subjects import find_subject

        # Not made by Gymnasium, which imports whatever module an id names.
        model = self.model or ENVIRONMENTS[env].kwargs.get("model")
        if model is None:
            raise SettingsError(f"{env} has no model of its own", remedy="give --model and --data")
        data = None if self.data is None else self.tables.named(self.data)
        subject = find_subject(model, data, ("magnitude",))
        if subject.suspect is None:
            raise SettingsError(
                f"{subject.name} holds no texts: there is no model to ask",
                expected="a transformer with clean data",
            )
        return subject.suspect, f"the classifier {subject.name} that the agent learns on"

    def _of_folder(self, model: str, data: str, run: Path) -> "tuple[Suspect, str]":
        from prune_env.evaluation.suspect import make_suspect
        from prune_env.models import load_classifier

        train, validation = self.tables.load_clean(
            data, self.validation, self.validation_share, self.seed
        )
        names = validation.label_names
        told = "the suspicious classifier, as it was before any head went"
        try:
            loaded = load_classifier(
                model,
                num_labels=len(names),
                label_names=names,
                head="keep",
                allow_download=self.tables.allow_download,
            )
        except ModelError:
            if not (run / "config.json").is_file():
                raise
            told = "the purified model of this run: heads that are pruned in it stay closed"
            loaded = load_classifier(run, num_labels=len(names), label_names=names, head="keep")
        return make_suspect(loaded, train, validation, self.max_length), told


def find_origin(run: Path, given: Origin) -> Origin | None:
    """Return what a run is of: what the user gives, else what the run says, else None.

    Whether anything may be fetched is said by the user alone: a run folder may be a stranger's,
    and a click on the page must not reach the network because the folder asks for it.

    Raises:
        SettingsError: A model without data, or the other way round.
        StateError: The file is damaged.
    """
    if given.model is not None or given.data is not None:
        if given.model is None or given.data is None:
            raise SettingsError(
                "A model is asked on clean data", expected="--model and --data, or neither"
            )
        return given
    path = run / ORIGIN
    if not path.is_file():
        return None
    found = from_plain(Origin, read_json(path), str(path))
    if found.env is None and None in (found.model, found.data):
        raise StateError(
            f"{path} names no model and data", remedy="delete it, and give --model and --data"
        )
    tables = replace(found.tables, allow_download=given.tables.allow_download)
    return replace(found, tables=tables)
