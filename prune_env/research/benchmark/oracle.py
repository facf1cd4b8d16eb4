"""The ceiling: a greedy search on the hidden objective itself. Never a defence."""

import time

import numpy as np
import numpy.typing as npt

from prune_env.data.dataset import TextDataset
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator, metrics
from prune_env.evaluation.base import units_of
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import guard_of, tau_of
from prune_env.models.masks import Mask
from prune_env.purification import SearchResult
from prune_env.settings import SearchSettings

ROUNDS = 1 / 3
"""Share of the heads that the budget is planned to last for; most of the gain comes early."""


def oracle_search(
    subject: Subject,
    triggered: TextDataset,
    target: int,
    settings: SearchSettings,
    *,
    calibrated: bool = False,
    seed: int = 0,
) -> SearchResult:
    """Prune, one after the other, the head whose loss lowers the true LFR most.

    Each round tries as many heads, drawn at random, as make the budget last for a third of the
    heads. Only masks that keep tau on clean validation data are taken; the best mask on the path
    is returned. The triggered *test* texts are read, so the figure is a bound and no result.

    Args:
        subject: What `prepare` returned.
        triggered: Triggered texts, with the labels in the order of the model's logits.
        target: The attacker's label, in the same order.
        settings: Threshold and budget.
        calibrated: Lower the LFR at the calibrated threshold, which leaning away from the target
            label cannot lower.
        seed: Of the draw of heads.
    """
    started = time.perf_counter()
    subject = subject.under_guard(settings.guard, settings.threshold(subject.accuracy))
    judge = _Judge(subject, triggered, target, calibrated=calibrated)
    clean = judge.clean
    tau = tau_of(settings, subject.accuracy, clean)
    random = np.random.default_rng(seed)
    mask = np.asarray(clean.available, bool).copy()
    width = -(-settings.budget // max(1, round(mask.sum() * ROUNDS)))
    accuracy, rate = (float(value[0]) for value in judge(mask[None]))
    best = (rate, -accuracy, mask)
    while clean.evaluations < settings.budget:
        heads = random.permutation(np.flatnonzero(units_of(clean).spare(mask, least_heads=1)))
        if not len(heads):
            break
        heads = heads[: min(width, settings.budget - clean.evaluations)]
        tried = np.repeat(mask[None], len(heads), axis=0)
        tried.reshape(len(heads), -1)[np.arange(len(heads)), heads] = False
        accuracies, rates = judge(tried)
        allowed = np.flatnonzero(accuracies >= tau)
        if not len(allowed):
            break
        chosen = allowed[np.lexsort((-accuracies[allowed], rates[allowed]))[0]]
        mask = tried[chosen]
        best = min(best, (rates[chosen], -accuracies[chosen], mask), key=lambda each: each[:2])
    return SearchResult(
        policy="oracle-calibrated" if calibrated else "oracle",
        mask=best[2],
        accuracy=-float(best[1]),
        tau=tau,
        evaluations=clean.evaluations,
        seconds=time.perf_counter() - started,
        guard=guard_of(clean),
    )


class _Judge:
    """Accuracy on clean validation data, and LFR on the triggered texts, under masks."""

    def __init__(
        self, subject: Subject, triggered: TextDataset, target: int, *, calibrated: bool
    ) -> None:
        suspect = subject.require_suspect()
        loaded, length = suspect.loaded, suspect.max_length
        self.clean = CountingEvaluator(subject.evaluator)
        self._hidden = MaskEvaluator(
            loaded.model,
            loaded.tokenizer,
            triggered,
            max_length=length,
            unit_map=suspect.unit_map,
        )
        self._labels = suspect.validation.labels
        self._target = target
        self._calibrated = calibrated

    def __call__(self, masks: Mask) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return accuracy (N,) and LFR (N,) under masks (N, L, H)."""
        answers, flipped = self.clean.evaluate(masks), self._hidden.evaluate(masks)
        rates = []
        for logits, hits in zip(answers.logits, flipped.logits, strict=True):
            threshold = 0.0
            if self._calibrated:
                threshold = metrics.threshold_of(logits, self._labels, self._target)
            rates.append(metrics.label_flip_rate(hits, self._target, threshold).percent)
        return answers.accuracy, np.array(rates)
