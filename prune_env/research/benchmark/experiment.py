"""Attack, defend, measure: one experiment on one attack and one seed.

This is the evaluation side. It holds the triggered texts; the defence (`prune_env.purification`)
is handed clean data only and never sees this module.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from prune_env.data.dataset import Splits
from prune_env.research.attacks.attack import AttackData
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.benchmark.cell import REFERENCES, Cell
from prune_env.research.benchmark.rows import ResultRow, write_result
from prune_env.research.benchmark.workbench import CellResult, Workbench
from prune_env.settings import Healing, Protocol, SearchSettings
from prune_env.utils.escape import markdown as escape
from prune_env.utils.event_kinds import RowMeasured
from prune_env.utils.events import emit, recording
from prune_env.utils.files import cache_folder
from prune_env.utils.progress import job


@dataclass(frozen=True)
class ExperimentSettings:
    """One attack, one seed, several policies.

    Attributes:
        models: The models, the attack and the seed.
        policies: Names of policies, each played once.
        protocols: What is done with each mask.
        healed: Names of policies whose mask is also healed, in each of these ways (`direct`).
        healings: See `purification.heal`.
        search: The search for a mask.
    """

    models: ModelSettings = field(default_factory=ModelSettings)
    policies: tuple[str, ...] = ("gradient", "epsilon-greedy")
    protocols: tuple[Protocol, ...] = ("direct", "refinetune")
    healed: tuple[str, ...] = ()
    healings: tuple[Healing, ...] = ("unlearn", "refit-unlearn")
    search: SearchSettings = field(default_factory=SearchSettings)


def run_experiment(
    settings: ExperimentSettings,
    clean: Splits,
    out: str | Path,
    *,
    sources: AttackSources | None = None,
    on_row: Callable[[ResultRow], None] = lambda row: None,
) -> dict[str, Any]:
    """Run an experiment and write `out/result.json` and `out/tensorboard`.

    `result.json` is written anew after each row, so an interrupted run leaves the rows it has.

    Args:
        settings: What to run.
        clean: The data set.
        out: Folder of the run; it must exist.
        sources: Where the texts of published attacks come from.
        on_row: Called with each row as it comes.

    Returns:
        The content of `result.json`.

    Raises:
        UnknownNameError: A policy or the attack is not known.
    """
    out, search = Path(out), settings.search
    wanted = [
        *(Cell(settings.models, policy) for policy in (*REFERENCES, "ft")),
        *(
            Cell(settings.models, policy, protocol, search=search)
            for policy in settings.policies
            for protocol in settings.protocols
        ),
        *(
            Cell(settings.models, policy, healing=healing, search=search)
            for policy in settings.healed
            for healing in settings.healings
        ),
    ]
    # A wrong name is answered before minutes of training.
    cells = list(dict.fromkeys(cell.normal() for cell in wanted))
    with (
        recording(out, "demo"),
        SummaryWriter(out / "tensorboard") as writer,
        TemporaryDirectory() as masks,
        job("demo", 1 + len(cells)) as begin,
    ):
        begin("the attack")
        trained = cache_folder() / "fine-tuned"
        bench = Workbench(clean, Path(masks), sources=sources, trained=trained, writer=writer)
        record = _Record(settings, bench.models(settings.models).attack, out, writer, on_row)
        for cell in cells:
            parts = (cell.policy, cell.protocol, cell.healing)
            begin(", ".join(part for part in parts if part != "none"))
            record.add(bench.run(cell))
    return record.result


class _Record:
    """The rows so far, on disk, in TensorBoard, and told to the caller."""

    def __init__(
        self,
        settings: ExperimentSettings,
        attack: AttackData,
        out: Path,
        writer: SummaryWriter,
        on_row: Callable[[ResultRow], None],
    ) -> None:
        self.rows: list[ResultRow] = []
        self.result: dict[str, Any] = {}
        self._out = out
        self._writer = writer
        self._on_row = on_row
        self._run = {**asdict(settings), "attack": attack.identity}
        writer.add_text("settings", _as_text(self._run))

    def add(self, done: CellResult) -> None:
        row, found = done.row, done.found
        self.rows.append(row)
        self.result = write_result(self._out / "result.json", self._run, self.rows)
        parts = [part for part in (row.protocol, row.healing) if part != "none"]
        tag = "-".join([row.policy, *parts])
        for name in ("acc", "lfr", "excess_lfr_calibrated"):
            value = getattr(row, name)
            if value is not None:
                self._writer.add_scalar(f"{name}/{tag}", value)
        if found is not None:
            picture = found.mask[None].astype(np.float32)
            self._writer.add_image(f"mask/{row.policy}", picture, dataformats="CHW")
        self._writer.flush()
        emit(RowMeasured(asdict(row)))
        self._on_row(row)


def _as_text(settings: dict[str, Any]) -> str:
    """Return settings as a Markdown list for TensorBoard's text page."""
    return "\n".join(f"- **{name}**: {escape(str(value))}" for name, value in settings.items())
