"""What a learning agent keeps of its episodes, and what it tells of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import BoolArray
from prune_env.env.mask_events import tell_mask
from prune_env.env.pool import Pool
from prune_env.evaluation.counting import CountingEvaluator

Array = npt.NDArray[Any]
TIE = 1e-9
"""Rewards that differ by less are equal: sums of steps round in the order of the steps."""
ASKED = "asked."
"""What the names of counted masks begin with in a checkpoint."""


@dataclass(frozen=True)
class EpisodeReport:
    """One episode of learning, as callbacks see it.

    Attributes:
        number: Counted from 1 over the agent's life.
        steps: Environment steps so far, over all episodes.
        length: Steps of this episode.
        total_reward: Undiscounted sum of its rewards.
        reward_terms: The same sum by term.
        mask: Bool (L, H), True = kept: the mask that the episode left.
        info: The environment's last info.
        figures: Latest figures of the learning by name, such as `train/loss` and `train/epsilon`.
        best_return: Highest total reward so far, this episode included.
        since_best: Episodes since it was reached; 0 if this one reached it.
        new_best: Whether the mask of this episode is the best one from now on.
        asked: Masks that all episodes so far looked at, those included that were known already.
    """

    number: int
    steps: int
    length: int
    total_reward: float
    reward_terms: Mapping[str, float]
    mask: BoolArray
    info: Mapping[str, Any]
    figures: Mapping[str, float]
    best_return: float
    since_best: int
    new_best: bool
    asked: int


EpisodeCallback = Callable[[EpisodeReport], bool | None]
"""Called after each episode of learning; returning False ends it."""


@dataclass
class LearningRecord:
    """The episodes of an agent's life, and the best of them.

    An episode counts when it has finished, by the mask that it left: those on its way do not.

    Attributes:
        steps: Environment steps taken.
        episodes: Episodes finished.
        best_return: Highest total reward; -inf before the first episode.
        best_episode: Number of the episode that reached it first.
        best_mask: Bool (L, H), the mask that it left; or that a later episode on the same model
            left, which was paid as much and is more accurate.
        best_model: Name of the model whose mask that is.
        best_accuracy: Accuracy under that mask; -inf where it is not known.
        best_test: Highest mean reward of a test without exploration; -inf before the first.
        since_best_test: Episodes between that test and the last one.
        asked: See `EpisodeReport`.
        finished: Whether patience has ended the learning.
        oracle: Whether any of it was paid by a reward that reads triggered texts, see `Reward`.
    """

    steps: int = 0
    episodes: int = 0
    best_return: float = -np.inf
    best_episode: int = 0
    best_mask: BoolArray | None = None
    best_model: str | None = None
    best_accuracy: float = -np.inf
    best_test: float = -np.inf
    since_best_test: int = 0
    asked: int = 0
    finished: bool = False
    oracle: bool = False

    def add(
        self,
        *,
        length: int,
        reward_terms: Mapping[str, float],
        info: Mapping[str, Any],
        figures: Mapping[str, float],
    ) -> EpisodeReport:
        """Count an episode that has ended and report it."""
        self.episodes += 1
        self.asked += info["evaluations"] + 1  # and the unpruned model, at reset
        total_reward = float(sum(reward_terms.values()))
        mask = np.array(info["mask"], bool)
        gain = total_reward - self.best_return
        if gain > TIE:
            self.best_return, self.best_episode = total_reward, self.episodes
        new_best = gain > TIE or (gain > -TIE and self._more_accurate(info))
        if new_best:
            self.best_mask, self.best_model = mask.copy(), info["model"]
            self.best_accuracy = float(info["accuracy"])
        tell_mask(
            mask,
            info["accuracy"],
            "learn",
            model=info["model"],
            reward=total_reward,
            terms=reward_terms,
            step=self.steps,
            sometimes=not new_best,
        )
        return EpisodeReport(
            number=self.episodes,
            steps=self.steps,
            length=length,
            total_reward=total_reward,
            reward_terms=dict(reward_terms),
            mask=mask,
            info=info,
            figures=dict(figures),
            best_return=self.best_return,
            since_best=self.episodes - self.best_episode,
            new_best=new_best,
            asked=self.asked,
        )

    def _more_accurate(self, info: Mapping[str, Any]) -> bool:
        """Return whether an episode on the model of the best mask left one that answers better."""
        same_model: bool = info["model"] == self.best_model
        return same_model and float(info["accuracy"]) > self.best_accuracy

    def add_test(self, total_reward: float, episodes: int) -> None:
        """Count a test without exploration, so many episodes after the one before it."""
        if total_reward > self.best_test + TIE:
            self.best_test, self.since_best_test = total_reward, 0
        else:
            self.since_best_test += episodes

    def state(self) -> dict[str, Any]:
        """Return plain JSON values; None stands for what is not known yet."""
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "best_return": None if self.best_mask is None else self.best_return,
            "best_episode": self.best_episode,
            "best_mask": None if self.best_mask is None else self.best_mask.astype(int).tolist(),
            "best_model": self.best_model,
            "best_accuracy": None if self.best_accuracy == -np.inf else self.best_accuracy,
            "best_test": None if self.best_test == -np.inf else self.best_test,
            "since_best_test": self.since_best_test,
            "asked": self.asked,
            "finished": self.finished,
            **({"oracle": True} if self.oracle else {}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "LearningRecord":
        """Return the record whose values `state` gave.

        Raises:
            TypeError: A value is unknown or of the wrong kind.
        """
        known = {name: value for name, value in state.items() if value is not None}
        for name in ("steps", "episodes", "best_episode", "since_best_test", "asked"):
            if type(known.get(name, 0)) is not int:
                raise TypeError(f"{name}: {known[name]!r:.80}")
        if type(known.get("oracle", False)) is not bool:
            raise TypeError(f"oracle: {known['oracle']!r:.80}")
        for name in ("best_return", "best_test", "best_accuracy"):
            known[name] = float(known.get(name, -np.inf))
        if "best_mask" in known:
            known["best_mask"] = np.array(known["best_mask"], bool)
        return cls(**known)


def sum_terms(total: dict[str, float], info: Mapping[str, Any]) -> None:
    """Add the reward terms of one step to those of its episode."""
    for name, value in info["reward_terms"].items():
        total[name] = total.get(name, 0.0) + value


class Budget:
    """Follows the masks that the evaluators of an environment compute from now on.

    Args:
        pool: The models that are played; their evaluators count, in `evaluations`.
        evaluations: Masks that may be computed; None for no limit.
        saved: What `state` returned, to go on from there; this takes `CountingEvaluator`s.
    """

    def __init__(
        self, pool: Pool, evaluations: int | None, saved: Mapping[str, Array] | None = None
    ) -> None:
        self._pool = pool
        self._evaluations = evaluations
        restored = restore_counts(pool, saved or {})
        self._before = self._count() - restored

    @property
    def spent(self) -> int:
        """Masks computed."""
        return self._count() - self._before

    @property
    def share_spent(self) -> float:
        """0 to 1, or a little more; always 0 without a limit."""
        return 0.0 if self._evaluations is None else self.spent / self._evaluations

    def state(self) -> dict[str, Array]:
        """Return the masks that were counted, by model; nothing where only a number is known."""
        return {name: counter.save() for name, counter in _counters(self._pool).items()}

    def _count(self) -> int:
        return sum(board.subject.evaluator.evaluations for board in self._pool.boards)


def restore_counts(pool: Pool, saved: Mapping[str, Array]) -> int:
    """Let the counting evaluators of a pool go on from what `Budget.state` returned.

    Returns:
        Masks that had been counted then.
    """
    restored = 0
    for name, counter in _counters(pool).items():
        if name in saved:
            counter.restore(saved[name])
            restored += counter.evaluations
    return restored


def asked_masks(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return what `Budget.state` put into a checkpoint."""
    return {name: array for name, array in tensors.items() if name.startswith(ASKED)}


def _counters(pool: Pool) -> dict[str, CountingEvaluator]:
    evaluators = [board.subject.evaluator for board in pool.boards]
    return {
        f"{ASKED}{index}": evaluator
        for index, evaluator in enumerate(evaluators)
        if isinstance(evaluator, CountingEvaluator)
    }
