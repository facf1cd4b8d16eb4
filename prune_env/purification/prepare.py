"""First step: the suspicious model is fine-tuned on clean data and its heads are measured."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import Evaluator, MaskEvaluator
from prune_env.importance import DEFAULT_METRICS, head_importance
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.masks import full_mask
from prune_env.recipe import Phase, Recipe, run_phases
from prune_env.settings import FineTuneSettings


@dataclass
class Prepared:
    """A suspicious model, fine-tuned on clean data, with its heads measured.

    Attributes:
        source: Where the suspicious model was loaded from.
        finetuned: The fine-tuned classifier (FT); a ready classifier is taken as it is.
        train: Clean sentences to train on.
        validation: Clean sentences on which masks are judged.
        evaluator: Accuracy on `validation` under a mask.
        metrics: Names of the importance metrics.
        importance: Float64 (L, H, M), raw.
        accuracy: Validation accuracy of the unpruned model, 0 to 1.
        seconds: Wall time of the preparation.
    """

    source: str
    finetuned: LoadedModel
    train: TextDataset
    validation: TextDataset
    evaluator: Evaluator
    metrics: tuple[str, ...]
    importance: npt.NDArray[np.float64]
    accuracy: float
    seconds: float


def prepare(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    metrics: tuple[str, ...] = DEFAULT_METRICS,
    importance_sentences: int = 1000,
    phases: tuple[Phase, ...] = (Phase(),),
    folder: Path | None = None,
    **load: Any,
) -> Prepared:
    """Load a suspicious model, train a head on an encoder, and measure every attention head.

    Args:
        source: Folder of an encoder or of a ready classifier (whose own head is kept, and which
            is not trained further).
        train: Clean sentences with the labels of the task.
        validation: Clean sentences that `train` does not hold.
        settings: Of the fine-tuning.
        seed: Of the new head, the fine-tuning and the metrics.
        metrics: Importance metrics that the environment shows.
        importance_sentences: Sentences of `train` they are measured on.
        phases: Fine-tunings of an encoder; a policy's `recipe` names them.
        folder: Where the TensorBoard events of the fine-tuning go.
        **load: Further arguments of `load_classifier`.

    Raises:
        ModelError: The folder holds no model that may be loaded.
        DivergedError: The fine-tuning diverged.
    """
    started = time.perf_counter()
    loaded = load_suspicious(source, train, seed, **load)
    train, validation = (_in_order_of(loaded, data) for data in (train, validation))
    if loaded.new_head:
        run_phases(
            phases,
            loaded,
            train,
            settings,
            seed=seed,
            folder=folder,
            description="Fine-tuning the suspicious model",
        )
    importance = head_importance(
        loaded.model,
        loaded.tokenizer,
        train,
        metrics,
        max_length=settings.max_length,
        max_sentences=importance_sentences,
        seed=seed,
    )
    evaluator = MaskEvaluator(
        loaded.model, loaded.tokenizer, validation, max_length=settings.max_length
    )
    accuracy = float(evaluator.accuracy(full_mask(evaluator.shape)[None])[0])
    return Prepared(
        source=str(source),
        finetuned=loaded,
        train=train,
        validation=validation,
        evaluator=evaluator,
        metrics=metrics,
        importance=importance,
        accuracy=accuracy,
        seconds=time.perf_counter() - started,
    )


def metrics_for(recipes: Iterable[Recipe]) -> tuple[str, ...]:
    """Return the default metrics and whatever else the recipes read, each once."""
    wanted = (name for recipe in recipes for name in recipe.metrics)
    return tuple(dict.fromkeys((*DEFAULT_METRICS, *wanted)))


def load_suspicious(source: str | Path, train: TextDataset, seed: int, **load: Any) -> LoadedModel:
    """Load the model to purify for the labels of the clean data, matched by name."""
    return load_classifier(
        source,
        num_labels=len(train.label_names),
        label_names=train.label_names,
        seed=seed,
        **load,
    )


def _in_order_of(loaded: LoadedModel, data: TextDataset) -> TextDataset:
    """Return the data with its labels in the order of the model's logits."""
    labels = loaded.align(data.labels, data.label_names)
    return replace(data, labels=labels, label_names=loaded.label_names)
