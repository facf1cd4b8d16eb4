"""What a learning agent keeps of its episodes, and what it tells of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import BoolArray
from prune_env.counting import CountingEvaluator
from prune_env.pool import Pool

Array = npt.NDArray[Any]
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


EpisodeCallback = Callable[[EpisodeReport], bool | None]
"""Called after each episode of learning; returning False ends it."""


@dataclass
class Record:
    """The episodes of an agent's life, and the best of them.

    Attributes:
        steps: Environment steps taken.
        episodes: Episodes finished.
        best_return: Highest total reward; -inf before the first episode.
        best_episode: Number of the episode that reached it first.
        best_mask: Bool (L, H), the mask that it left.
    """

    steps: int = 0
    episodes: int = 0
    best_return: float = -np.inf
    best_episode: int = 0
    best_mask: BoolArray | None = None

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
        total_reward = float(sum(reward_terms.values()))
        mask = np.array(info["mask"], bool)
        if total_reward > self.best_return:
            self.best_return, self.best_episode = total_reward, self.episodes
            self.best_mask = mask.copy()
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
        )

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "best_return": None if self.best_mask is None else self.best_return,
            "best_episode": self.best_episode,
            "best_mask": None if self.best_mask is None else self.best_mask.astype(int).tolist(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Record":
        """Return the record that `state` described."""
        if state["best_mask"] is None:
            return cls(state["steps"], state["episodes"])
        mask = np.array(state["best_mask"], bool)
        return cls(**{**state, "best_mask": mask})


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
        self._evaluators = [board.subject.evaluator for board in pool.boards]
        self._evaluations = evaluations
        self._before = self._count()
        for name, counter in self._counters().items():
            if saved and name in saved:
                counter.restore(saved[name])

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
        return {name: counter.save() for name, counter in self._counters().items()}

    def _counters(self) -> dict[str, CountingEvaluator]:
        return {
            f"{ASKED}{index}": evaluator
            for index, evaluator in enumerate(self._evaluators)
            if isinstance(evaluator, CountingEvaluator)
        }

    def _count(self) -> int:
        return sum(evaluator.evaluations for evaluator in self._evaluators)


def asked_masks(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return what `Budget.state` put into a checkpoint."""
    return {name: array for name, array in tensors.items() if name.startswith(ASKED)}
