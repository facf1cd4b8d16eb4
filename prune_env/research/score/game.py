"""A game of a suite, made: the model to play, and what masks of it are worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final

import numpy as np
import numpy.typing as npt

from prune_env.agents.training_envs import make_env
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.recorded import HIDDEN, recorded_of
from prune_env.env.subject import Subject
from prune_env.errors import StateError
from prune_env.evaluation.guard import guard_evaluator, guard_of, tau_of
from prune_env.importance import DEFAULT_METRICS
from prune_env.models.masks import Mask
from prune_env.research.score.hidden import hidden_rate
from prune_env.research.score.suite import ScoredTask
from prune_env.settings import Precision

PRECISION: Final[Precision] = "fp32"
"""Of every pass of a scoring: bf16 turns answers near a decision, and not every processor has it.
"""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MaskValues:
    """What masks are worth; rewards and LFR cost a pass each, and are computed when first read.

    Attributes:
        accuracy: Float64 (N,), on clean validation data.
        legal: Bool (N,); what is not legal is worth as much as the unpruned model.
        rewards: Returns the rewards (1 + N,) of the unpruned model and the masks.
        rates: Returns their calibrated LFR (1 + N,); None where it is not known.
    """

    accuracy: Floats
    legal: npt.NDArray[np.bool_]
    rewards: Callable[[], Floats]
    rates: Callable[[], Floats] | None

    @cached_property
    def gained(self) -> Floats:
        """Float64 (N,), the reward of the mask minus that of the unpruned model.

        It is the return of an episode that leaves the mask.
        """
        rewards = self.rewards()
        gained: Floats = rewards[1:] - rewards[0]
        return gained

    @cached_property
    def spared(self) -> Floats | None:
        """Float64 (N,), 1 - LFR, calibrated; None where it is not known."""
        return None if self.rates is None else 1 - self.rates()[1:]


class TaskGame:
    """A game of a suite, made.

    Args:
        task: The game.
        metrics: Importance metrics that must be shown.

    Attributes:
        subject: The model; it holds clean data alone, and no answer of anybody before.

    Raises:
        StateError: The recorded model is not the one that the suite was made for.
    """

    def __init__(self, task: ScoredTask, metrics: Sequence[str] = DEFAULT_METRICS) -> None:
        env = make_env(task.env, task.arguments(metrics)).unwrapped
        assert isinstance(env, HeadPruningEnv)
        self.task = task
        self.subject = _unseen(env.subject)
        evaluator = self.subject.evaluator
        recorded = recorded_of(env.subject.evaluator)
        found = None if recorded is None else recorded.fingerprint
        if found != task.record:
            raise StateError(
                f"The record {task.model} is not the one that the suite was made for",
                expected=f"SHA-256 {task.record}",
                actual=found,
                remedy="install the release again",
            )
        self.tau = tau_of(task.search, self.subject.accuracy, evaluator)
        self._reward = env.reward
        self._rate = hidden_rate(task.model, self.subject, recorded)
        self._least = env.settings.min_heads_per_layer

    @property
    def knows_hidden(self) -> bool:
        """Whether the hidden LFR is known."""
        return self._rate is not None

    def values(self, masks: Mask) -> MaskValues:
        """Return what masks (N, L, H) are worth.

        A mask that no episode can leave, for it falls below tau or empties a layer, is worth as
        much as no pruning.
        """
        evaluator, units = self.subject.evaluator, self.subject.units
        masks = np.concatenate([evaluator.available[None], masks & evaluator.available])
        accuracy = evaluator.accuracy(masks)
        legal = accuracy >= self.tau
        legal &= np.array([units.keeps(mask, self._least) for mask in masks])
        worth = np.where(legal[:, None, None], masks, masks[:1])
        known = np.where(legal, accuracy, accuracy[0])
        return MaskValues(
            accuracy[1:],
            legal[1:],
            lambda: self._reward.score(self.subject, worth, known).sum(axis=1),
            None if self._rate is None else partial(self._rate, worth),
        )


def _unseen(subject: Subject) -> Subject:
    """Return a model as players hold it: nothing is known of it yet, and no LFR can be asked."""
    suspect, recorded = subject.suspect, recorded_of(subject.evaluator)
    if suspect is not None:
        suspect = suspect.afresh()
        evaluator = guard_evaluator(suspect.evaluator, guard_of(subject.evaluator))
    elif recorded is not None:
        evaluator = recorded.without(HIDDEN)
    else:
        return subject
    return replace(subject, evaluator=evaluator, suspect=suspect, origin=None)
