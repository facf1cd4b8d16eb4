"""What every reward from texts shares: its demands, answers at a threshold that no lean shifts."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.data.checks import require_all_labels
from prune_env.errors import SettingsError
from prune_env.metrics import calibrated_threshold, lean
from prune_env.reward import Reward, Scores
from prune_env.subject import Subject

if TYPE_CHECKING:
    from prune_env.evaluation.base import Evaluation
    from prune_env.texts import CleanTexts


class TextReward(Reward):
    """A reward that reads texts of two classes, with their model."""

    def check(self, subject: Subject) -> None:
        """Raise unless the subject holds texts of two classes.

        Raises:
            SettingsError: It holds no texts, or another number of classes.
            DataError: A class has no text.
        """
        if subject.texts is None:
            raise SettingsError(
                f"The reward '{self.name}' needs texts, and {subject.name} holds none",
                expected="a model with data, or a Subject with `texts`",
                remedy="choose another reward",
            )
        classes = len(subject.texts.validation.label_names)
        if classes != 2:
            raise SettingsError(
                f"The reward '{self.name}' is defined for two classes",
                expected=2,
                actual=classes,
                remedy="choose another reward",
            )
        for part in (subject.texts.train, subject.texts.validation):
            require_all_labels(part)


def texts_of(subject: Subject, sentences: int) -> "CleanTexts":
    """Return the texts of a subject, or a fixed, stratified part of so many where it has more."""
    assert subject.texts is not None
    if sentences < len(subject.texts.validation):
        return subject.texts.part(sentences)
    return subject.texts


def leans_over_threshold(clean: "Evaluation", moved: "Evaluation") -> npt.NDArray[np.float64]:
    """Return the lean to class 1 of each moved text, counted from the calibrated threshold.

    Args:
        clean: Answers (N masks) on clean sentences; each mask's threshold is shifted until it
            calls class 1 as often as that is the label. Of two classes, either may be taken.
        moved: Answers of the same masks on other texts (S).

    Returns:
        Float64 (N, S), positive where class 1 is predicted; NaN for masks with spoilt logits.
    """
    leans = np.full(moved.logits.shape[:2], np.nan)
    for row, (before, after) in enumerate(zip(clean.logits, moved.logits, strict=True)):
        if np.isfinite(before).all() and np.isfinite(after).all():
            leans[row] = lean(after) - calibrated_threshold(before, clean.labels)
    return leans


def kept_share(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the share of answers that stay, averaged over the classes that were answered.

    Args:
        before: What `leans_over_threshold` returned for texts, (N, S).
        after: Likewise for the same texts, rewritten.

    Returns:
        Float64 (N,); 0 for masks with spoilt logits.
    """
    shares = np.zeros(len(before))
    for row in np.flatnonzero(np.isfinite(before).all(1) & np.isfinite(after).all(1)):
        first, second = before[row] > 0, after[row] > 0
        shares[row] = np.mean([(second[first == side] == side).mean() for side in np.unique(first)])
    return shares


def flipped_share(leans: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Scores:
    """Return for either class the share of its texts that is called the other, float64 (N, 2).

    Args:
        leans: What `leans_over_threshold` returned, (N, S).
        labels: (S,), texts of both classes. A spoilt text counts as flipped.
    """
    called = np.where(np.isnan(leans), -1, leans > 0)
    shares = [(called[:, labels == label] != label).mean(axis=1) for label in (0, 1)]
    return np.stack(shares, axis=1)
