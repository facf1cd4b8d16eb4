"""What every reward from texts shares: its demands, answers at a calibrated threshold."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from prune_env.data.checks import require_all_labels
from prune_env.data.images import ImageDataset
from prune_env.env.rewards.reward import Reward, Scores
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation.metrics import margins_over_threshold

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation.base import Evaluation
    from prune_env.evaluation.suspect import Suspect


class TextReward(Reward):
    """A reward that reads labelled texts, with their model."""

    classes: ClassVar[int | None] = 2
    """Classes that the texts must have; None takes any number."""

    words: ClassVar[bool] = True
    """Whether words are put into the texts, or out: images have none."""

    def check(self, subject: Subject) -> None:
        """Raise unless the subject holds texts of so many classes.

        Raises:
            SettingsError: It holds no texts, or another number of classes.
            DataError: A class has no text.
        """
        if subject.suspect is None:
            raise SettingsError(
                f"The reward '{self.name}' needs texts, and {subject.name} holds none",
                expected="a model with data, or a Subject with a `suspect`",
                remedy="choose another reward",
            )
        self.check_data(subject.suspect.train, subject.suspect.validation)

    def check_data(self, *parts: "TextDataset") -> None:
        """Raise unless they are texts of so many classes, see `Reward.check_data`."""
        for part in parts:
            if self.words:
                require_words(self.name, part)
            classes = len(part.label_names)
            if self.classes not in (None, classes):
                raise not_two_classes(self.name, classes)
            require_all_labels(part)


def require_words(name: str, data: "TextDataset") -> None:
    """Refuse images: a reward of this name puts words into texts, or out.

    Raises:
        SettingsError: They are.
    """
    if isinstance(data, ImageDataset):
        raise SettingsError(
            f"The reward '{name}' changes words, and the model reads images",
            expected="texts",
            actual=f"images, {data.source}",
            remedy="choose a reward such as accuracy, sparsity or entropy",
        )


def not_two_classes(name: str, classes: int) -> SettingsError:
    """Return the error of data of another number of classes, for a reward of this name."""
    return SettingsError(
        f"The reward '{name}' is defined for two classes",
        expected=2,
        actual=classes,
        remedy="choose another reward",
    )


def texts_of(subject: Subject, sentences: int) -> "Suspect":
    """Return the texts of a subject, or a fixed, stratified part of so many where it has more."""
    assert subject.suspect is not None
    if sentences < len(subject.suspect.validation):
        return subject.suspect.part(sentences)
    return subject.suspect


def calibrated_margins(clean: "Evaluation", moved: "Evaluation") -> npt.NDArray[np.float64]:
    """Return the margins (N, S) of moved texts over each mask's threshold on clean ones.

    See `prune_env.evaluation.metrics.margins_over_threshold`.
    """
    return margins_over_threshold(clean.logits, clean.labels, moved.logits)


def kept_share(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the share of answers that stay, averaged over the classes that were answered.

    Args:
        before: What `calibrated_margins` returned for texts, (N, S).
        after: Likewise for the same texts, rewritten.

    Returns:
        Float64 (N,); 0 for masks with spoilt logits.
    """
    shares = np.zeros(len(before))
    for row in np.flatnonzero(np.isfinite(before).all(1) & np.isfinite(after).all(1)):
        first, second = before[row] > 0, after[row] > 0
        shares[row] = np.mean([(second[first == side] == side).mean() for side in np.unique(first)])
    return shares


def flipped_share(margins: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Scores:
    """Return for either class the share of its texts that is called the other, float64 (N, 2).

    Args:
        margins: What `calibrated_margins` returned, (N, S).
        labels: (S,), texts of both classes. A spoilt text counts as flipped.
    """
    called = np.where(np.isnan(margins), -1, margins > 0)
    shares = [(called[:, labels == label] != label).mean(axis=1) for label in (0, 1)]
    return np.stack(shares, axis=1)
