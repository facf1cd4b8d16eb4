"""Equal budgets: what one search has asked, whatever the evaluator remembers from others."""

import numpy as np
import numpy.typing as npt

from prune_env.errors import BudgetError
from prune_env.evaluation import Evaluation, Evaluator
from prune_env.evaluation.guard import Remembering, labels_of
from prune_env.models.masks import Mask
from prune_env.utils.counts import count_of


class CountingEvaluator:
    """A view of an evaluator that counts the distinct masks asked through it.

    Policies are compared at an equal number of evaluations. The evaluator beneath remembers masks
    for all of them, so its own count would favour the policy that comes last.

    Args:
        evaluator: Who answers.
        budget: Distinct masks that may be asked; None for no limit. A mask that was asked before
            costs nothing.
    """

    def __init__(self, evaluator: Evaluator, budget: int | None = None) -> None:
        self._evaluator = evaluator
        self._budget = budget
        self._asked: set[bytes] = set()

    @property
    def beneath(self) -> Evaluator:
        """The evaluator that answers, to be asked without counting."""
        return self._evaluator

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads of a mask (L, H)."""
        return self._evaluator.shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where a head exists."""
        return self._evaluator.available

    @property
    def evaluations(self) -> int:
        """Distinct masks asked through this view."""
        return len(self._asked)

    @property
    def fingerprint(self) -> str:
        """That of the evaluator beneath."""
        return self._evaluator.fingerprint

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """Those of the evaluator beneath, if it tells."""
        return labels_of(self._evaluator)

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H).

        Raises:
            BudgetError: See `accuracy`.
        """
        self._count(masks)
        return self._evaluator.evaluate(masks)

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, H).

        Raises:
            BudgetError: The budget does not hold all of them; none was asked.
        """
        self._count(masks)
        return self._evaluator.accuracy(masks)

    def correct(self, masks: Mask) -> npt.NDArray[np.bool_]:
        """Return which samples (N, S) are right under masks (N, L, H).

        Raises:
            BudgetError: See `accuracy`.
        """
        self._count(masks)
        beneath = self._evaluator
        if isinstance(beneath, Remembering):
            return beneath.correct(masks)
        return beneath.evaluate(masks).correct

    def over(self, evaluator: Evaluator) -> "CountingEvaluator":
        """Return a view of another evaluator that counts anew, within the same budget."""
        return CountingEvaluator(evaluator, self._budget)

    def save(self) -> npt.NDArray[np.uint8]:
        """Return the masks counted so far, uint8 (N, ceil(L * H / 8)), eight heads a byte."""
        masks = np.array([np.frombuffer(key, np.bool_) for key in sorted(self._asked)], np.bool_)
        return np.packbits(masks.reshape(len(masks), self.shape[0] * self.shape[1]), axis=1)

    def restore(self, saved: npt.NDArray[np.uint8]) -> None:
        """Go on counting from what `save` returned."""
        masks = np.unpackbits(saved, axis=1, count=self.shape[0] * self.shape[1])
        self._asked = {mask.astype(np.bool_).tobytes() for mask in masks}

    def _count(self, masks: Mask) -> None:
        new = {mask.tobytes() for mask in np.asarray(masks, np.bool_)} - self._asked
        wanted = len(self._asked) + len(new)
        if self._budget is not None and wanted > self._budget:
            raise BudgetError(
                "The budget of evaluations is spent",
                expected=f"at most {count_of(self._budget, 'mask')}",
                actual=wanted,
            )
        self._asked |= new
