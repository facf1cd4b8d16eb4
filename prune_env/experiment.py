"""Attack, defend, measure: one experiment on one attack and one seed.

This is the evaluation side. It holds the triggered texts; the defence (`prune_env.purification`)
is handed clean data only and never sees this module.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from prune_env.attacks.backdoor import AttackedModels, ModelSettings, cached_models
from prune_env.data.dataset import Splits
from prune_env.purification import Prepared, Protocol, finish, metrics_for, prepare, search
from prune_env.recipe import Phase, Recipe, recipe_of
from prune_env.report import Row, make_row, write_result
from prune_env.scores import Scores, score
from prune_env.settings import SearchSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExperimentSettings:
    """One attack, one seed, several policies.

    Attributes:
        models: The models, the attack and the seed.
        policies: Names of policies, each played once.
        protocols: What is done with each mask.
        search: The search for a mask.
    """

    models: ModelSettings = field(default_factory=ModelSettings)
    policies: tuple[str, ...] = ("gradient", "epsilon-greedy")
    protocols: tuple[Protocol, ...] = ("direct", "refinetune")
    search: SearchSettings = field(default_factory=SearchSettings)


def run_experiment(
    settings: ExperimentSettings,
    clean: Splits,
    out: Path,
    *,
    data_folder: Path | None = None,
    cache: Path | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> dict[str, Any]:
    """Run an experiment and write `out/result.json` and `out/tensorboard`.

    `result.json` is written anew after each row, so an interrupted run leaves the rows it has.

    Args:
        settings: What to run.
        clean: The data set.
        out: Folder of the run; it must exist.
        data_folder: Where the files of a published attack are.
        cache: Where backdoored and benign models are kept; default: the user's cache.
        on_row: Called with each row as it comes.

    Returns:
        The content of `result.json`.

    Raises:
        UnknownNameError: A policy or the attack is not known.
    """
    # A wrong name is answered before minutes of training.
    recipes = {name: recipe_of(name, settings.search.variant) for name in settings.policies}
    models = cached_models(settings.models, clean, data_folder=data_folder, cache=cache)
    defender, seed = settings.models.defender, settings.models.seed
    with SummaryWriter(out / "tensorboard") as writer:
        record = _Record(settings, models, out, writer, on_row)
        record.add("benign", models.benign.scores, models.benign.seconds)
        record.add("backdoored", models.backdoored.scores, models.backdoored.seconds)

        @cache_results
        def prepared_with(phases: tuple[Phase, ...]) -> Prepared:
            """Fine-tune and measure once for all policies that fine-tune alike."""
            return prepare(
                models.backdoored.encoder,
                models.clean.train,
                models.clean.validation,
                defender,
                seed=seed,
                metrics=metrics_for(recipes.values()),
                importance_sentences=settings.search.importance_sentences,
                phases=phases,
                folder=out / "tensorboard" / "ft",
            )

        ft = prepared_with(Recipe().search)
        record.heads_total = int(ft.evaluator.available.sum())
        record.add("ft", score(ft.finetuned, models.sets), ft.seconds)
        for name, recipe in recipes.items():
            prepared = prepared_with(recipe.search)
            found = search(prepared, name, settings.search, seed=seed, writer=writer)
            for protocol in settings.protocols:
                started = time.perf_counter()
                purified = finish(
                    prepared, found.mask, protocol, defender, seed=seed, phases=recipe.final
                )
                record.add(
                    name,
                    score(purified, models.sets),
                    found.seconds + time.perf_counter() - started,
                    protocol=protocol,
                    heads_pruned=found.heads_pruned,
                    evaluations=found.evaluations,
                )
            writer.add_image(f"mask/{name}", found.mask[None].astype(np.float32), dataformats="CHW")
    return record.result


class _Record:
    """The rows so far, on disk, in TensorBoard, and told to the caller."""

    def __init__(
        self,
        settings: ExperimentSettings,
        models: AttackedModels,
        out: Path,
        writer: SummaryWriter,
        on_row: Callable[[Row], None],
    ) -> None:
        self.heads_total = 0
        self.rows: list[Row] = []
        self.result: dict[str, Any] = {}
        self._models = models
        self._out = out
        self._writer = writer
        self._on_row = on_row
        self._run = {**asdict(settings), "attack": models.attack.identity}
        writer.add_text("settings", _as_text(self._run))

    def add(
        self,
        policy: str,
        scores: Scores,
        seconds: float,
        *,
        protocol: str = "none",
        heads_pruned: int = 0,
        evaluations: int = 0,
    ) -> None:
        row = make_row(
            scores,
            self._models.benign.scores,
            policy=policy,
            protocol=protocol,
            attack=self._models.settings.attack.attack,
            seed=self._models.settings.seed,
            heads_pruned=heads_pruned,
            heads_total=self.heads_total,
            evaluations=evaluations,
            seconds=seconds,
        )
        self.rows.append(row)
        self.result = write_result(self._out / "result.json", self._run, self.rows)
        tag = policy if protocol == "none" else f"{policy}-{protocol}"
        for name in ("acc", "lfr", "excess_lfr_calibrated"):
            value = getattr(row, name)
            if value is not None:
                self._writer.add_scalar(f"{name}/{tag}", value)
        self._writer.flush()
        self._on_row(row)


def _as_text(settings: dict[str, Any]) -> str:
    """Return settings as a Markdown list for TensorBoard's text page."""
    return "\n".join(f"- **{name}**: `{value}`" for name, value in settings.items())
