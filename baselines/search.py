"""Policies that look ahead: they try masks on an evaluator, then play the best that they found."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from prune_env.baselines.baseline import Baseline, BoolArray
from prune_env.env.arguments import whole_number
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.known_rules import KnownRules
from prune_env.env.mask_events import tell_mask
from prune_env.env.observation import require_parts
from prune_env.env.policy import Observation, Requirements
from prune_env.env.recorded import recorded_of
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation.base import units_of
from prune_env.evaluation.guard import tau_of
from prune_env.importance.registry import DEFAULT_METRICS

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator

DEFAULT_BUDGET = 400
Callback = Callable[[Any], bool | None]
Paid = Callable[[BoolArray, npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Takes masks (N, L, H) and their accuracies (N,); returns the terms of their reward (N, T)."""


class SearchPolicy(Baseline):
    """Searches once, within a budget of masks, and then prunes the heads of its plan in order.

    `learn` runs the search for an environment's rules; a policy that is asked before runs it at
    its first `predict`, for the threshold that the observation shows and the other rules of the
    environment that it was built for. The plan belongs to the
    evaluator's model, so the policy cannot play a pool of several models.

    Args:
        metrics: See `Baseline`; none is read.
        evaluator: Accuracy on clean validation data under a mask.
        budget: Distinct masks that the search may ask for.
        variant: Only `paper`.
        seed: Of the search.

    Raises:
        SettingsError: The budget is below 1, or the variant does not exist.
    """

    reads_reward = False

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_METRICS,
        *,
        evaluator: "Evaluator",
        budget: int = DEFAULT_BUDGET,
        variant: str = "paper",
        seed: int = 0,
    ) -> None:
        super().__init__(metrics, variant=variant, seed=seed)
        if budget < 1:
            raise SettingsError("budget is out of range", expected=">= 1", actual=budget)
        self.evaluator = evaluator
        self.budget = budget
        self.paid: Paid | None = None
        self._rules = EpisodeSettings()
        self._plan: list[int] | None = None

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> Self:
        """Build the policy for an environment, whose metric names and evaluator it takes over.

        Raises:
            SettingsError: The variant does not exist, or the environment shows no mask, or plays
                several models: a plan is for one.
        """
        require_parts(cls.__name__, cls.reads, env.observation_space)
        inner = env.unwrapped
        models = inner.core.pool.names
        subject = subject_of(inner)
        if len(models) > 1:
            raise SettingsError(
                f"{cls.__name__} searches a plan for one model",
                expected="an environment of one model",
                actual=f"a pool of {', '.join(models)}",
                remedy="make an environment for each",
            )
        policy = cls(inner.metrics, evaluator=subject.evaluator, seed=seed, variant=variant)
        policy._rules = inner.core.settings
        policy._known_rules = KnownRules.of(env)
        return policy

    def learn(
        self,
        env: Any,
        *,
        total_steps: int | None = None,
        max_evaluations: int | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """Search under an environment's threshold and least heads per layer.

        Args:
            env: A `HeadPruningEnv`; it is not stepped.
            total_steps: Ignored: a search takes no steps.
            max_evaluations: Replaces `budget`.
            callback: Called after every group of masks; returning False ends the search early.

        Raises:
            SettingsError: `max_evaluations` is below 1.
        """
        if max_evaluations is not None:
            self.budget = whole_number("max_evaluations", max_evaluations, 1)
        rules = env.unwrapped.core.settings
        scorer = Scorer(self.evaluator, self.budget, callback, self.paid)
        # The episode asks for the unpruned model as well: it is part of the budget.
        unpruned = float(scorer([scorer.available])[0, 0])
        tau = tau_of(rules, unpruned, self.evaluator)
        self._plan = self._search(scorer, rules, tau, np.random.default_rng(self.seed))
        return self

    @property
    def best_mask(self) -> BoolArray | None:
        """None: the best mask of the search is its plan, which `predict` plays."""
        return None

    @property
    def best_return(self) -> float:
        """-inf: see `best_mask`."""
        return -np.inf

    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return the next head of the plan, or STOP at its end.

        Raises:
            SettingsError: The observation is of another model's shape; or nothing was searched
                yet, and it does not show the threshold.
        """
        if legal.shape != self.evaluator.shape:
            raise SettingsError(
                f"{type(self).__name__} was built for another model",
                expected=f"{self.evaluator.shape} heads",
                actual=f"{legal.shape}",
                remedy="build it for one environment without a pool",
            )
        if self._plan is None:
            require_parts(type(self).__name__, ("mask", "status"), observation)
            accuracy, margin = (float(value) for value in observation["status"][:2])
            # What is shown is rounded, and tau is often the accuracy of a mask: never above it.
            tau = min(max(math.floor((accuracy - margin) * 1e6) / 1e6, 0.0), 1.0)
            scorer = Scorer(self.evaluator, self.budget, None, self.paid)
            scorer([scorer.available])  # as in `learn`
            random = np.random.default_rng(self.seed)
            self._plan = self._search(scorer, replace(self._rules, tau=tau), tau, random)
        assert self._plan is not None
        return next((head for head in self._plan if legal.flat[head]), legal.size)

    @abstractmethod
    def _search(
        self, scorer: "Scorer", rules: EpisodeSettings, tau: float, random: np.random.Generator
    ) -> list[int]:
        """Return the heads to prune, as actions, in order."""

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements()


def subject_of(env: Any) -> Subject:
    """Return the model of an environment of one model, or of its vector form."""
    found: Subject = getattr(env, "subject", None) or env.core.pool.boards[0].subject
    return found


class Scorer:
    """Answers masks within a budget; a mask that was asked before costs nothing.

    Args:
        evaluator: Who answers.
        budget: Distinct masks that may be asked.
        callback: See `SearchPolicy.learn`.
        paid: A reward, whose negative takes the place of the mean loss.
    """

    def __init__(
        self,
        evaluator: "Evaluator",
        budget: int,
        callback: Callback | None,
        paid: Paid | None = None,
    ) -> None:
        self.available: BoolArray = np.asarray(evaluator.available, dtype=bool)
        self.units = units_of(evaluator)
        self._evaluator = evaluator
        self._left = budget
        self._callback = callback
        self._paid = paid
        self._known: dict[bytes, tuple[float, float]] = {}

    @property
    def left(self) -> int:
        """Masks that may still be asked."""
        return self._left

    def __call__(self, masks: Sequence[BoolArray]) -> npt.NDArray[np.float64]:
        """Return accuracy and mean loss, or negative reward, (N, 2) under at most `left` masks."""
        new = {mask.tobytes(): mask for mask in masks if mask.tobytes() not in self._known}
        if new:
            asked = np.stack(list(new.values()))
            accuracies, costs = self._answer(asked)
            if self._paid is not None:
                costs = -self._paid(asked, accuracies).sum(axis=1)
            best = int(np.argmin(costs))
            tell_mask(asked[best], float(accuracies[best]), "tried", sometimes=True)
            for key, accuracy, cost in zip(new, accuracies, costs, strict=True):
                self._known[key] = (float(accuracy), float(cost))
            self._left -= len(new)
            if self._callback is not None and self._callback(self) is False:
                self._left = 0
        return np.array([self._known[mask.tobytes()] for mask in masks])

    def _answer(self, masks: BoolArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return accuracy and mean loss (N,) of masks (N, L, H); of a record, the errors."""
        if recorded_of(self._evaluator) is None:
            answer = self._evaluator.evaluate(masks)
            return answer.accuracy, answer.loss
        accuracies = self._evaluator.accuracy(masks)
        return accuracies, 1 - accuracies
