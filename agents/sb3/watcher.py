"""What happens between the steps of an algorithm: reports, budget, saving, stopping."""

from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from prune_env.agents.checkpoint import SaveTimes
from prune_env.agents.record import Budget, EpisodeCallback, LearningRecord


class Watcher(BaseCallback):
    """Reports every episode as all agents here do, and ends or saves the training.

    Saving waits for the beginning of a rollout: there nothing is half done, so whoever resumes
    ends bit-equal.

    Args:
        record: Counts the episodes.
        budget: Ends the training when it is spent.
        callback: Called after each episode; returning False ends the training.
        save: Saves the agent; None does not.
        save_every: Steps between two saves at most; see `SaveTimes`.
        stop_requested: Asked at the beginning of each rollout; True saves and ends the training.
    """

    def __init__(
        self,
        record: LearningRecord,
        budget: Budget,
        callback: EpisodeCallback | None,
        *,
        save: Callable[[], None] | None,
        save_every: int,
        stop_requested: Callable[[], bool],
    ) -> None:
        super().__init__()
        self.stopped = False
        self._record = record
        self._budget = budget
        self._callback = callback
        self._save = save
        self._due = SaveTimes(save_every, record.steps)
        self._stop_requested = stop_requested
        self._figures = _Figures()

    def logger_of_figures(self) -> Logger:
        """Return what the algorithm shall log to: the one of its own makes a folder."""
        return Logger(folder=None, output_formats=[self._figures])

    def _on_rollout_start(self) -> None:
        self.stopped = self._stop_requested()
        if self._save is not None and (self._due(self.num_timesteps) or self.stopped):
            self._save()

    def _on_step(self) -> bool:
        if self.stopped:
            return False
        self._record.steps = self.num_timesteps
        go_on = True
        for info in self.locals["infos"]:
            if "episode" in info:
                report = self._record.add(
                    length=info["episode"]["l"],
                    reward_terms=info["episode"]["terms"],
                    info=info,
                    figures=self._figures.latest,
                )
                if self._callback is not None and self._callback(report) is False:
                    go_on = False
        return go_on and self._budget.share_spent < 1


class _Figures(KVWriter):
    """Takes what the algorithm logs, in place of a file."""

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: Mapping[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        for name, value in key_values.items():
            if name == "rollout/exploration_rate":
                self.latest["train/epsilon"] = float(value)
            elif name == "train/entropy_loss":
                self.latest["train/entropy"] = -float(value)
            elif name.startswith("train/"):
                self.latest[name] = float(value)

    def close(self) -> None:
        """There is nothing to close."""
