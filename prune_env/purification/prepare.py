"""First step: the suspicious model is fine-tuned on clean data and its heads are measured."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from prune_env.data.dataset import TextDataset
from prune_env.env.policy import Requirements
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation import Evaluator, MaskEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.importance import DEFAULT_METRICS, head_importance
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.masks import full_mask
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import Phase, run_phases
from prune_env.utils.runtime import pick_device


@dataclass(frozen=True, eq=False)
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
        max_length: Tokens kept of a sentence.
        seconds: Wall time of the preparation.
        texts: The classifier with its clean texts, for rewards that look into them.
    """

    source: str
    finetuned: LoadedModel
    train: TextDataset
    validation: TextDataset
    evaluator: Evaluator
    metrics: tuple[str, ...]
    importance: npt.NDArray[np.float64]
    accuracy: float
    max_length: int = 128
    seconds: float = 0.0
    texts: Suspect | None = None

    def subject(self, name: str = "model", *, evaluator: Evaluator | None = None) -> Subject:
        """Return what an environment plays.

        Args:
            name: How messages call it.
            evaluator: A view of `evaluator` to ask in its place, such as one that counts.
        """
        return Subject(
            self.evaluator if evaluator is None else evaluator,
            self.importance,
            self.metrics,
            name,
            texts=self.texts,
        )


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
        phases: Fine-tunings of an encoder; a policy's `requirements` name them.
        folder: Where the TensorBoard events of the fine-tuning go.
        **load: Further arguments of `load_classifier`.

    Raises:
        ModelError: The folder holds no model that may be loaded.
        DivergedError: The fine-tuning diverged.
        SettingsError: A ready classifier, and a policy that asks for a fine-tuning of its own.
    """
    started = time.perf_counter()
    loaded = fine_tuned(source, train, settings, seed=seed, phases=phases, folder=folder, **load)
    judge = judged(loaded, source, train, validation, settings.max_length)
    importance = measured_heads(judge, metrics, sentences=importance_sentences, seed=seed)
    return replace(
        judge,
        metrics=metrics,
        importance=importance,
        seconds=time.perf_counter() - started,
    )


def fine_tuned(
    source: str | Path,
    train: TextDataset,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    phases: tuple[Phase, ...] = (Phase(),),
    folder: Path | None = None,
    **load: Any,
) -> LoadedModel:
    """Return the suspicious model as a classifier (FT); arguments as those of `prepare`."""
    loaded = load_suspicious(source, train, seed, **load)
    if not loaded.new_head and phases != (Phase(),):
        raise SettingsError(
            f"{source} has a classification head of its own, and is taken as it is",
            expected="an encoder, for a policy that fine-tunes in a way of its own",
            actual="a classifier",
            remedy="give the encoder alone, or choose another policy",
        )
    if loaded.new_head:
        run_phases(
            phases,
            loaded,
            _in_order_of(loaded, train),
            settings,
            seed=seed,
            folder=folder,
            description="Fine-tuning the suspicious model",
        )
    # A ready classifier was not trained, so nothing has moved it yet.
    cast(nn.Module, loaded.model).to(pick_device())
    return loaded


def judged(
    loaded: LoadedModel,
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    max_length: int = 128,
) -> Prepared:
    """Return a fine-tuned classifier with its evaluator, its heads not yet measured.

    Args:
        loaded: The classifier.
        source: The suspicious model that it was fine-tuned from.
        train: Clean sentences that it was trained on.
        validation: Clean sentences on which masks are judged.
        max_length: Tokens kept of a sentence.
    """
    train, validation = (_in_order_of(loaded, data) for data in (train, validation))
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, validation, max_length=max_length)
    return Prepared(
        source=str(source),
        finetuned=loaded,
        train=train,
        validation=validation,
        evaluator=evaluator,
        metrics=(),
        importance=np.empty((*evaluator.shape, 0)),
        accuracy=float(evaluator.accuracy(full_mask(evaluator.shape)[None])[0]),
        max_length=max_length,
        texts=Suspect(loaded, train, validation, evaluator, max_length),
    )


def measured_heads(
    prepared: Prepared, metrics: tuple[str, ...], *, sentences: int = 1000, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the importance of every head, float64 (L, H, M), on clean training sentences."""
    return head_importance(
        prepared.finetuned.model,
        prepared.finetuned.tokenizer,
        prepared.train,
        metrics,
        max_length=prepared.max_length,
        max_sentences=sentences,
        seed=seed,
    )


def metrics_for(required: Iterable[Requirements]) -> tuple[str, ...]:
    """Return the default metrics and whatever else is required, each once."""
    wanted = (name for each in required for name in each.metrics)
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
