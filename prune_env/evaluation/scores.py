"""How good a model is and how much of the backdoor it holds, on test sets that no defence sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.data.checks import require_all_labels
from prune_env.data.dataset import TextDataset
from prune_env.errors import MetricError, SettingsError
from prune_env.evaluation import metrics
from prune_env.evaluation.metrics import Logits, Share
from prune_env.evaluation.screen import unsure
from prune_env.models import LoadedModel
from prune_env.models.forward import answer
from prune_env.models.inputs import Rows, check_kind, make_rows
from prune_env.utils.counts import count_of
from prune_env.utils.runtime import use_bf16


@dataclass(frozen=True)
class TestSets:
    """The evaluation side of an experiment.

    Attributes:
        test: Clean sentences, for ACC.
        triggered: Triggered texts with their *true* labels, none of which is the target; None
            where the trigger is unknown, as it is to a real defender.
        validation: Clean sentences on which the threshold is calibrated; None leaves the
            calibrated figures out.
        target_label: The attacker's label.
    """

    __test__ = False  # not a test class, whatever its name tells pytest

    test: TextDataset
    triggered: TextDataset | None = None
    validation: TextDataset | None = None
    target_label: int = 1

    def __post_init__(self) -> None:
        """Check that an LFR is defined.

        Raises:
            SettingsError: The target is no label of the test set.
            MetricError: The triggered set holds rows of the target label, or none at all.
            DataError: A set has other classes than the test set, or the validation set has no row
                of one of them.
        """
        for name in ("triggered", "validation"):  # whose files may have another order of labels
            part: TextDataset | None = getattr(self, name)
            if part is not None:
                object.__setattr__(self, name, part.in_order_of(self.test.label_names))
        if self.validation is not None:
            require_all_labels(self.validation)
        if not 0 <= self.target_label < len(self.test.label_names):
            raise SettingsError(
                "target_label is no label of the test set",
                expected=f"0 to {len(self.test.label_names) - 1} {self.test.label_names}",
                actual=self.target_label,
            )
        if self.triggered is None:
            return
        hits = int((self.triggered.labels == self.target_label).sum())
        if hits or not len(self.triggered):
            raise MetricError(
                f"LFR is undefined on {self.triggered.source}",
                expected=f"triggered texts whose true label is not the target {self.target_label}",
                actual=f"{hits:,} of {count_of(len(self.triggered), 'row')} have the target label",
                remedy="keep the non-target rows and give their true labels",
            )


@dataclass(frozen=True)
class Scores:
    """ACC and LFR of one model, plain and calibrated, in percent with 95 % intervals.

    Calibrated, one threshold moves: that of the target against the rest, of however many classes.
    It takes a lean to or from the target out of LFR, which is what it is for, and keeps published
    figures comparable. Of more than two classes, leans among the others stay in ACC; rewards and
    healings, which know no target, take out those of every class (`metrics.calibrated_shifts`).

    Attributes:
        acc: Accuracy on the clean test set.
        lfr: Label flip rate; None without triggered texts.
        acc_calibrated: ACC at the calibrated threshold; None without validation data.
        lfr_calibrated: LFR at the calibrated threshold.
    """

    acc: Share
    lfr: Share | None = None
    acc_calibrated: Share | None = None
    lfr_calibrated: Share | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Scores":
        """Return the scores whose `dataclasses.asdict` is `value`.

        Raises:
            ValueError: A percentage is not that of its count.
        """
        shares = {name: share and Share(**share) for name, share in value.items()}
        for share in filter(None, shares.values()):
            if abs(share.percent * share.total - 100 * share.count) > 1e-6 * share.total:
                raise ValueError(f"{share.percent} percent of {share.count} of {share.total}")
        return cls(**shares)


@dataclass(frozen=True, eq=False)
class Measured:
    """The scores of a model, and which test sentences it is right on.

    Attributes:
        scores: Its scores.
        right: Bool (N,), of each sentence of the clean test set.
        cut: How many texts of all sets were longer than what the model read of them.
        sha256: Identity of the files that the model was loaded from, see `LoadedModel`.
    """

    scores: Scores
    right: npt.NDArray[np.bool_]
    cut: int
    sha256: str


def score(loaded: LoadedModel, sets: TestSets, *, max_length: int = 128) -> Scores:
    """Return the scores of `measure` alone."""
    return measure(loaded, sets, max_length=max_length).scores


def measure(
    loaded: LoadedModel,
    sets: TestSets,
    *,
    max_length: int = 128,
    description: str = "Measuring on test sentences",
) -> Measured:
    """Measure a classifier on test sets; see `prune_env.evaluation.metrics` for every definition.

    Args:
        loaded: The classifier.
        sets: What it is measured on.
        max_length: Tokens kept of a text.
        description: Of the pass, for the progress bar.

    Raises:
        ModelError: The model's label names are not those of the test set.
        DataError: The model reads images and a set holds texts, or the other way round.
    """
    groups = [group for group in (sets.test, sets.triggered, sets.validation) if group is not None]
    for group in groups:
        check_kind(loaded.tokenizer, group)
    texts = [text for group in groups for text in group.texts]
    answers = _Screened(loaded, texts, sets.test.label_names, max_length, description)
    ends = np.cumsum([len(group) for group in groups])[:-1]
    target = sets.target_label

    def parts(threshold: float = 0.0) -> tuple[Logits, Logits | None, Logits | None]:
        found = iter(np.split(answers.logits(target, threshold), ends))
        return (
            next(found),
            None if sets.triggered is None else next(found),
            None if sets.validation is None else next(found),
        )

    test, triggered, validation = parts()
    acc = metrics.accuracy(test, sets.test.labels, target)
    lfr = None if triggered is None else metrics.label_flip_rate(triggered, target)
    right = metrics.predict(test, target) == sets.test.labels
    if sets.validation is None or validation is None:
        return Measured(Scores(acc, lfr), right, answers.cut, loaded.sha256)
    labels = sets.validation.labels
    near = metrics.calibrated_threshold(validation, labels, target)
    threshold = metrics.calibrated_threshold(
        answers.logits(target, near)[ends[-1] :], labels, target
    )
    test, triggered, _ = parts(threshold)
    scores = Scores(
        acc,
        lfr,
        metrics.accuracy(test, sets.test.labels, target, threshold),
        None if triggered is None else metrics.label_flip_rate(triggered, target, threshold),
    )
    return Measured(scores, right, answers.cut, loaded.sha256)


class _Screened:
    """Logits of texts, in low precision where the predicted class does not hang on it.

    Where bf16 is fast, every text is answered in bf16 and those near a decision again in fp32
    (`evaluation.screen`), at a third of the time of fp32 and with the same predictions.

    Args:
        loaded: The classifier.
        texts: What it is asked.
        names: Of the classes, in the order of the data; the model may know them in another.
        max_length: Tokens kept of a text.
        description: Of the pass, for the progress bar.

    Attributes:
        cut: How many texts are longer.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        texts: list[str],
        names: Sequence[str],
        max_length: int,
        description: str,
    ) -> None:
        self._loaded, self._texts = loaded, texts
        self._columns = loaded.align(np.arange(len(loaded.label_names)), names)
        self._max_length, self._description = max_length, description
        self._screens = use_bf16("auto", loaded.model.device)
        samples = make_rows(texts, loaded.tokenizer, max_length)
        self.cut = samples.truncated
        self._first = self._answer(samples, bf16=self._screens)
        self._best = self._first.copy()
        self._exact = np.full(len(texts), not self._screens)

    def logits(self, target: int, threshold: float) -> Logits:
        """Return logits (N, C) whose classes at this threshold on `target` are those of fp32."""
        if self._screens:
            shift = np.zeros(self._first.shape[1], np.float32)
            shift[target] = threshold
            moved = self._first - shift
            for rows in unsure(moved):
                new = rows[~self._exact[rows]]
                if new.size:
                    texts = [self._texts[row] for row in new]
                    samples = make_rows(texts, self._loaded.tokenizer, self._max_length)
                    self._best[new] = self._answer(samples, bf16=False)
                    self._exact[new] = True
                moved[rows] = self._best[rows] - shift
        return self._best.copy()

    def _answer(self, samples: Rows, *, bf16: bool) -> npt.NDArray[np.float32]:
        logits = answer(
            self._loaded.model,
            samples,
            precision="bf16" if bf16 else "fp32",
            description=self._description,
        )
        return logits[:, self._columns]
