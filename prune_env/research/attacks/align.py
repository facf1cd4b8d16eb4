"""Triggered texts as a model numbers its classes."""

from dataclasses import replace

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator
from prune_env.models import LoadedModel


def align_triggered(
    loaded: LoadedModel, triggered: TextDataset, target_label: int
) -> tuple[TextDataset, int]:
    """Return triggered texts and the target with labels in the order of the model's logits.

    Args:
        loaded: The classifier; it may know the classes in another order than the data.
        triggered: Triggered texts.
        target_label: The attacker's label, in the order of the data.

    Raises:
        ModelError: The model's label names are not those of the texts.
    """
    labels = loaded.align(triggered.labels, triggered.label_names)
    target = int(loaded.align(np.array([target_label]), triggered.label_names)[0])
    return replace(triggered, labels=labels, label_names=loaded.label_names), target


def evaluate_triggered(
    subject: Subject, hidden: TextDataset, target_label: int
) -> tuple[MaskEvaluator, int]:
    """Return what answers triggered texts under masks of the subject's units, and the target."""
    suspect = subject.require_suspect()
    loaded, length = suspect.loaded, suspect.max_length
    texts, target = align_triggered(loaded, hidden, target_label)
    evaluator = MaskEvaluator(
        loaded.model, loaded.tokenizer, texts, max_length=length, unit_map=suspect.unit_map
    )
    return evaluator, target
