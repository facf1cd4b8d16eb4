"""A teacher that cannot hold the backdoor: a linear model of words, taught clean data alone.

What it says of texts of other registers rests on words whose labels the clean data shows; a trigger
in syntax or style means nothing to it, and neither does a word that clean data does not hold. A
model that is trained towards its answers unlearns what it disagrees with.

Source: the linear model is TF-IDF of words and pairs of words with logistic regression, as in
scikit-learn. Labels by a surer model are pseudo-labels (Lee, ICML Workshop 2013).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from prune_env.data.dataset import TextDataset
from prune_env.data.unlabelled import Lesson
from prune_env.errors import DataError, SettingsError

SURE = 0.9
"""Probability of its answer from which on the teacher labels a text."""

FEWEST = 100
"""Texts that it must be sure of."""


def require_scikit_learn() -> None:
    """Raise a `SettingsError` unless a teacher can be made."""
    if find_spec("sklearn") is None:
        raise SettingsError(
            "Unlabelled texts are labelled by a linear model of scikit-learn",
            expected="scikit-learn",
            actual="not installed",
            remedy="pip install 'prune-env[unlabelled]'",
        )


def label_texts(
    texts: Sequence[str],
    train: TextDataset,
    validation: TextDataset,
    *,
    words: Callable[[str], list[str]] | None = None,
    source: str = "unlabelled",
) -> Lesson:
    """Label the texts that a linear model of the clean training data is sure of.

    Args:
        texts: Without labels.
        train: Clean texts with labels.
        validation: Others, which tell how good the teacher is.
        words: Splits a text into words, where no spaces stand between them.
        source: Where the texts come from.

    Raises:
        DataError: It is sure of fewer than `FEWEST` of them, or no word stands in two clean texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - an extra
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    split = {} if words is None else {"tokenizer": words, "token_pattern": None}
    terms = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, **split)
    if not _share_a_term(train.texts, terms.build_analyzer()):
        raise _silent(source, "no word stands in two texts of the training data")
    teacher = make_pipeline(terms, LogisticRegression(C=10.0, max_iter=1000))
    teacher.fit(train.texts, train.labels)
    chances = teacher.predict_proba(texts)
    sure = chances.max(axis=1) >= SURE
    if sure.sum() < FEWEST:
        raise _silent(source, f"{int(sure.sum()):,} of {len(texts):,}")
    labels = teacher.classes_[chances.argmax(axis=1)]
    labelled = replace(
        train,
        texts=tuple(text for text, kept in zip(texts, sure, strict=True) if kept),
        labels=labels[sure],
        source=source,
        skipped=0,
    )
    judged = validation.in_order_of(train.label_names)
    accuracy = float(np.mean(teacher.predict(judged.texts) == judged.labels))
    return Lesson(labelled, accuracy)


def _share_a_term(texts: Sequence[str], terms_of: Callable[[str], list[str]]) -> bool:
    """Return whether any term stands in two texts, which is what a linear model learns from."""
    seen: set[str] = set()
    for text in texts:
        terms = set(terms_of(text))
        if not seen.isdisjoint(terms):
            return True
        seen |= terms
    return False


def _silent(source: str, actual: str) -> DataError:
    return DataError(
        f"{source}: clean data says too little of these texts",
        expected=f"{FEWEST} or more that a linear model of the training data is sure of",
        actual=actual,
        remedy="bring texts like those of the clean data, or more of them, or none",
    )
