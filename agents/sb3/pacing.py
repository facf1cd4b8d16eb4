"""Schedules that also follow a budget of mask evaluations."""

from typing import Any

from prune_env.agents.record import Budget


class Paced:
    """Mixed into an algorithm: progress is the share of steps or of evaluations, whichever leads.

    Where masks are expensive, training ends when the evaluations run out, long before its steps
    do; learning rates and epsilon must have fallen by then.
    """

    budget: Budget | None = None

    def _update_current_progress_remaining(self: Any, taken: int, total: int) -> None:
        spent = self.budget.share_spent if self.budget is not None else 0.0
        self._current_progress_remaining = max(0.0, 1 - max(taken / total, spent))
