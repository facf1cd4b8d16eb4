"""First step: the suspicious model is fine-tuned on clean data and its heads are measured."""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import nn

from prune_env.data.dataset import TextDataset
from prune_env.data.unlabelled import Unlabelled
from prune_env.env.policy import Requirements
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation.suspect import Suspect, make_suspect
from prune_env.importance import DEFAULT_METRICS, head_importance
from prune_env.inversion.writing import writing_of
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.inputs import check_kind
from prune_env.settings import LoadingSettings
from prune_env.training.phases import Phase, TrainingRun, run_phases
from prune_env.training.teacher import label_texts
from prune_env.utils.counts import count_of
from prune_env.utils.public import public_name
from prune_env.utils.runtime import pick_device

log = logging.getLogger(__name__)


def prepare(
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    run: TrainingRun,
    *,
    metrics: tuple[str, ...] = DEFAULT_METRICS,
    importance_sentences: int = 1000,
    loading: LoadingSettings | None = None,
) -> Subject:
    """Load a suspicious model, train a head on an encoder, and measure every attention head.

    Args:
        source: Folder of an encoder or of a ready classifier (whose own head is kept, and which
            is not trained further).
        train: Clean sentences with the labels of the task.
        validation: Clean sentences that `train` does not hold.
        run: The fine-tunings of an encoder; its seed is also that of the new head and of the
            metrics.
        metrics: Importance metrics that the environment shows; none where no policy chooses.
        importance_sentences: Sentences of `train` they are measured on.
        loading: How the model is loaded.

    Raises:
        ModelError: The folder holds no model that may be loaded.
        DivergedError: The fine-tuning diverged.
        SettingsError: A ready classifier, and a policy that asks for a fine-tuning of its own.
    """
    started = time.perf_counter()
    loaded = _load(source, train, run, loading)
    for data in (train, validation):
        check_kind(loaded.tokenizer, data)  # before hours are spent
    _train_head(loaded, train, run)
    subject = make_subject(loaded, source, train, validation, run.settings.max_length)
    if metrics:
        subject = replace(
            subject,
            metrics=metrics,
            importance=measure_heads(
                subject.require_suspect(), metrics, sentences=importance_sentences, seed=run.seed
            ),
        )
    return replace(subject, seconds=time.perf_counter() - started)


def fine_tune_suspicious(
    source: str | Path,
    train: TextDataset,
    run: TrainingRun,
    loading: LoadingSettings | None = None,
) -> LoadedModel:
    """Return the suspicious model as a classifier (FT); arguments as those of `prepare`."""
    loaded = _load(source, train, run, loading)
    _train_head(loaded, train, run)
    return loaded


def _load(
    source: str | Path, train: TextDataset, run: TrainingRun, loading: LoadingSettings | None
) -> LoadedModel:
    """Return the suspicious model as it came, if these fine-tunings can be run on it."""
    loaded = load_suspicious(source, train, run.seed, loading)
    if not loaded.new_head and run.phases != (Phase(),):
        raise SettingsError(
            f"{source} has a classification head of its own, and is taken as it is",
            expected="an encoder, for a policy that fine-tunes in a way of its own",
            actual="a classifier",
            remedy="give the encoder alone, or choose another policy",
        )
    return loaded


def _train_head(loaded: LoadedModel, train: TextDataset, run: TrainingRun) -> None:
    """Fine-tune an encoder; a ready classifier is moved to the device alone."""
    if loaded.new_head:
        data = loaded.aligned(train)
        run_phases(run, loaded, data, description="Fine-tuning the suspicious model")
    # A ready classifier was not trained, so nothing has moved it yet.
    cast(nn.Module, loaded.model).to(pick_device())


def teach(subject: Subject, unlabelled: Unlabelled) -> Subject:
    """Return the subject with a lesson for its refit: unlabelled texts, with a teacher's labels.

    Args:
        subject: What `prepare` returned.
        unlabelled: Texts like its clean ones; those that are among these are left out.

    Raises:
        DataError: The teacher is sure of too few of them, or all are among the clean ones.
    """
    suspect = subject.require_suspect()
    writing = writing_of(suspect.train, suspect.loaded)
    others = unlabelled.without(suspect.train, suspect.validation)
    known = len(unlabelled) - len(others)
    lesson = label_texts(
        others.texts,
        suspect.train,
        suspect.validation,
        words=None if writing.spaced else writing.split,
        source=unlabelled.source,
    )
    log.info(
        "%s of %s unlabelled texts are read too, with labels of a linear model (right on %.1f %%)",
        f"{len(lesson.texts):,}",
        f"{len(unlabelled):,}",
        100 * lesson.accuracy,
    )
    if known:
        log.warning(
            "%s of %s also stand in the clean data: they are left out",
            count_of(known, "unlabelled text"),
            public_name(unlabelled.source),
        )
    return replace(subject, suspect=replace(suspect, lesson=replace(lesson, known=known)))


def make_subject(
    loaded: LoadedModel,
    source: str | Path,
    train: TextDataset,
    validation: TextDataset,
    max_length: int = 128,
) -> Subject:
    """Return a fine-tuned classifier with its evaluator, its heads not yet measured.

    Args:
        loaded: The classifier.
        source: The suspicious model that it was fine-tuned from.
        train: Clean sentences that it was trained on.
        validation: Clean sentences on which masks are judged.
        max_length: Tokens kept of a sentence.
    """
    suspect = make_suspect(loaded, train, validation, max_length)
    evaluator = suspect.evaluator
    importance = np.empty((*evaluator.shape, 0))
    subject = Subject(evaluator, importance, (), suspect=suspect, source=str(source))
    log.info("Validation accuracy of the unpruned model: %.3f", subject.accuracy)
    return subject


def measure_heads(
    suspect: Suspect, metrics: tuple[str, ...], *, sentences: int = 1000, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the importance of every head, float64 (L, H, M), on clean training sentences."""
    return head_importance(
        suspect.loaded.model,
        suspect.loaded.tokenizer,
        suspect.train,
        metrics,
        max_length=suspect.max_length,
        max_sentences=sentences,
        seed=seed,
    )


def metrics_for(required: Iterable[Requirements]) -> tuple[str, ...]:
    """Return the default metrics and whatever else is required, each once."""
    wanted = (name for each in required for name in each.metrics)
    return tuple(dict.fromkeys((*DEFAULT_METRICS, *wanted)))


def load_suspicious(
    source: str | Path, train: TextDataset, seed: int, loading: LoadingSettings | None = None
) -> LoadedModel:
    """Load the model to purify for the labels of the clean data, matched by name."""
    loading = loading or LoadingSettings()
    return load_classifier(
        source,
        num_labels=len(train.label_names),
        label_names=train.label_names,
        seed=seed,
        head=loading.head,
        allow_download=loading.allow_download,
        revision=loading.revision,
        attn_implementation=loading.attn_implementation,
    )
