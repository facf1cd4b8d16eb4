"""What cells share: made once by a task, or at hand from an earlier start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from prune_env.data.sst2 import SST2_SHA256
from prune_env.models import find_source
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.benchmark.addresses import attack_name, fine_tuned_name, mask_file
from prune_env.research.benchmark.cell import REFERENCES, Cell
from prune_env.research.benchmark.cluster.order import ENCODER, TEXTS, Order, Part
from prune_env.research.benchmark.model_store import ModelStore
from prune_env.research.benchmark.worker import Task
from prune_env.utils.bundle import Bundle, pack, unpack
from prune_env.utils.source import code


class SharedParts:
    """Where the driver finds parts, and keeps those that come back; no other machine writes them.

    Args:
        task: The run.
        store: Keeps models.
    """

    def __init__(self, task: Task, store: ModelStore) -> None:
        self._task = task
        self._store = store

    def find(self, name: str, part: Part) -> Bundle | None:
        """Return a part that was made before."""
        if part != "attack" and (self._task.folder / name).exists():
            return pack(self._task.folder, [name])
        return None if part == "mask" else self._store.fetch(name)

    def keep(self, name: str, part: Part, bundle: Bundle) -> None:
        """Keep a part for the next start."""
        if part == "mask":
            unpack({name: bundle[name]}, self._task.folder)
        elif not self._store.has(name):
            self._store.keep(name, bundle)

    def needed_by(self, cell: Cell) -> Mapping[Part, str]:
        """Return the names of the parts of a cell, in the order of making."""
        identity, models = self._task.identity, cell.models
        attack: dict[Part, str] = {"attack": attack_name(models, identity)}
        if cell.policy in REFERENCES:
            return attack
        tuned = fine_tuned_name(models, cell.target, cell.requirements.search, identity)
        return {
            **attack,
            "fine-tuned": f"fine-tuned/{tuned}",
            "mask": mask_file(cell, identity),
        }

    def inputs(self, settings: ModelSettings) -> Bundle:
        """Return the clean encoder and the texts of a published attack."""
        attack, sources = settings.attack.attack, self._task.sources
        encoder = pack(find_source(settings.model))
        bundle = {f"{ENCODER}/{path}": data for path, data in encoder.items()}
        texts = [name for name in SST2_SHA256 if name.startswith(f"{attack}/")]
        for name in [*texts, "clean/train.tsv"] if texts else []:
            place = sources.published(name)
            bundle[f"{TEXTS}/{name}"] = pack(place.parent, [place.name])[place.name]
        return bundle

    def order(self, begun: Any) -> Order:
        """Return what every task is given."""
        task = self._task
        return Order(
            run=uuid4().hex,
            code=code(),
            clean=task.clean,
            identity=task.identity,
            own=task.sources.own,
            threads=task.threads,
            plugins=task.plugins,
            keep_models=task.keep_models,
            begun=begun,
        )


def default_store(cache: Path) -> ModelStore:
    """Return where models are kept if no other place is named."""
    return ModelStore(str(cache / "store"))
