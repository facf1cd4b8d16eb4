"""The rules of one episode, apart from who plays it and who computes the accuracies."""

from collections.abc import Generator, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.pool import Board
from prune_env.errors import StateError
from prune_env.evaluation.guard import tau_of
from prune_env.models.masks import Mask

ROUNDING = 1e-9
"""What a share of a number of units may be off by."""

Scoring = Generator[Mask, float, None]
"""Yields a mask (L, H) to be scored, is sent its accuracy, and goes on."""


class Episode:
    """One episode: which heads are gone, what is known of the accuracy, what may come next.

    `start` and `play` are generators: they yield every mask whose accuracy they need, so that a
    caller with many episodes can score them together.

    Pruned heads form a *group* until the accuracy is looked at, `prune_step` heads later or at
    STOP. Until then they show in `trial` alone; `mask` holds what has been checked, so it
    satisfies tau at every moment at which an episode can be cut off, if the unpruned model does.

    Args:
        board: The model and the grid.
        settings: The rules.

    Attributes:
        trial: Bool (L, H), True = kept; with the heads of the group pruned.
        mask: Bool (L, H), True = kept; the mask that the episode leaves.
        group: Actions since the last look at the accuracy.
        legal: Bool (L * H + 1,), which actions are allowed; STOP is the last.
        tau: Least accuracy.
        accuracy: Accuracy under `mask`.
        base_accuracy: Accuracy of the unpruned model.
        evaluations: Masks scored so far.
        actions: Every action that was legal, in order.
        illegal: Why the last action was refused; empty if it was not.
        ended: Why it ended: `"stop"`, `"tau"`, `"budget"`, `"illegal"`; empty while it runs.
        mask_changed: Whether the last action changed `mask`.
    """

    def __init__(self, board: Board, settings: EpisodeSettings) -> None:
        self.board = board
        self.settings = settings
        self.trial = board.available.copy()
        self.mask = board.available.copy()
        self.group: list[int] = []
        self.legal = np.zeros(self.trial.size + 1, np.bool_)
        self.tau = self.accuracy = self.base_accuracy = float("nan")
        self.evaluations = 0
        self.actions: list[int] = []
        self.illegal = ""
        self.ended = ""
        self.mask_changed = False

    @property
    def stop(self) -> int:
        """The action STOP."""
        return self.trial.size

    @property
    def heads_pruned(self) -> int:
        """Heads pruned in `mask`."""
        if self.board.subject.units.heads_only:
            return self.pruned
        return self.board.pruned(self.mask)["head"]

    @property
    def pruned(self) -> int:
        """Units pruned in `mask`: heads, and others where the model has them."""
        return self.board.total - int(np.count_nonzero(self.mask))

    @property
    def share_pruned(self) -> float:
        """Share of the heads, or units, pruned in `trial`."""
        return 1 - int(np.count_nonzero(self.trial)) / self.board.total

    @property
    def budget_left(self) -> float:
        """Share of `max_evaluations` that is left; 1 without a limit."""
        limit = self.settings.max_evaluations
        return 1.0 if limit is None else 1 - self.evaluations / limit

    @property
    def penalty(self) -> float:
        """What the last action is charged for being illegal, at most 0."""
        return -self.settings.illegal_penalty if self.illegal else 0.0

    @property
    def success(self) -> bool:
        """Whether the mask satisfies tau and prunes as many units as a success asks for."""
        least = max(1.0, self.settings.success_share * self.board.total - ROUNDING)
        return self.accuracy >= self.tau and self.pruned >= least

    def start(self) -> Scoring:
        """Look at the unpruned model."""
        self.accuracy = self.base_accuracy = yield self.mask
        self.tau = tau_of(self.settings, self.base_accuracy, self.board.subject.evaluator)
        self._list_legal()

    def play(self, action: Any) -> Scoring:
        """Take one action; one that is not legal is told in `illegal`, and changes no mask.

        Raises:
            StateError: The episode has ended.
        """
        if self.ended:
            raise StateError(
                "The episode has ended", actual=self.ended, remedy="call reset before step"
            )
        self.mask_changed = False
        choice = _whole_number(action)
        self.illegal = self._refusal(choice)
        if self.illegal or choice is None:
            if self.settings.end_on_illegal:
                self.ended = "illegal"
                self._drop_group()
                self._list_legal()
            return
        self.actions.append(choice)
        if choice == self.stop:
            yield from self._check_group()
            self.ended = self.ended or "stop"
        else:
            self.trial.flat[choice] = False
            self.group.append(choice)
            if len(self.group) == self.settings.prune_step:
                yield from self._check_group()
        self._list_legal()

    def save(self) -> dict[str, Any]:
        """Return the episode as plain values, as JSON holds them."""
        return {
            "model": self.board.name,
            "fingerprint": self.board.subject.evaluator.fingerprint,
            "trial": self.trial.tolist(),
            "mask": self.mask.tolist(),
            "group": list(self.group),
            "tau": self.tau,
            "accuracy": self.accuracy,
            "base_accuracy": self.base_accuracy,
            "evaluations": self.evaluations,
            "actions": list(self.actions),
            "illegal": self.illegal,
            "ended": self.ended,
        }

    @classmethod
    def restore(cls, saved: Mapping[str, Any], board: Board, settings: EpisodeSettings) -> Self:
        """Return the episode that `save` wrote down.

        Raises:
            StateError: It was played on another model than that of the board.
        """
        found = board.subject.evaluator.fingerprint
        told = saved.get("fingerprint", found)  # 0.2.0 did not write it
        if told != found:
            raise StateError(
                f"The episode was played on another model than the '{board.name}' of this pool",
                expected=f"fingerprint {told}",
                actual=found,
                remedy="restore it where that model bears this name, with its data and its guard",
            )
        episode = cls(board, settings)
        episode.trial[:] = saved["trial"]
        episode.mask[:] = saved["mask"]
        episode.group = list(saved["group"])
        episode.tau = saved["tau"]
        episode.accuracy = saved["accuracy"]
        episode.base_accuracy = saved["base_accuracy"]
        episode.evaluations = saved["evaluations"]
        episode.actions = list(saved["actions"])
        episode.illegal = saved["illegal"]
        episode.ended = saved["ended"]
        episode._list_legal()
        return episode

    def _check_group(self) -> Scoring:
        """Look at the accuracy; below tau, restore heads until it holds, and end."""
        while self.group and not self._budget_spent():
            accuracy = yield self.trial
            self.evaluations += 1
            if accuracy >= self.tau:
                self.accuracy = accuracy
                self.mask = self.trial.copy()
                self.mask_changed = True
                self.group.clear()
            else:
                self.ended = "tau"
                self.trial.flat[self.group.pop()] = True
                if not self.settings.backtrack:
                    break
        if self.group:
            self._drop_group()
        if self._budget_spent():
            self.ended = self.ended or "budget"

    def _drop_group(self) -> None:
        """Take back the heads that were not looked at."""
        self.group.clear()
        self.trial = self.mask.copy()

    def _budget_spent(self) -> bool:
        limit = self.settings.max_evaluations
        return limit is not None and self.evaluations >= limit

    def _list_legal(self) -> None:
        self.legal[:] = False
        self.legal[-1] = True
        if not self.ended and self.base_accuracy >= self.tau:
            spare = self.board.spare(self.trial, self.settings.min_heads_per_layer)
            self.legal[:-1] = spare.ravel()

    def _refusal(self, action: int | None) -> str:
        """Return why an action is not legal; empty if it is."""
        if action is None:
            reason = "not a whole number"
        elif not 0 <= action <= self.stop:
            reason = "out of range"
        elif self.legal[action]:
            reason = ""
        elif not self.board.available.flat[action]:
            reason = "no such head"
        elif not self.trial.flat[action]:
            reason = "already pruned"
        elif not self.base_accuracy >= self.tau:
            reason = "the unpruned model is below tau"
        elif action % self.trial.shape[1] >= self.board.subject.units.heads:
            reason = "an earlier step of the map comes first"
        else:
            reason = "the layer keeps no more heads than it must"
        return reason


def _whole_number(action: Any) -> int | None:
    """Return an action as int; None for what is none: a float, NaN, a bool, text, two numbers."""
    if type(action) is int:
        return action
    try:
        array: npt.NDArray[Any] = np.asarray(action)
    except ValueError:  # a ragged list
        return None
    if array.size != 1 or array.dtype.kind not in "iu":
        return None
    return int(array.item())
