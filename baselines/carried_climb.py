"""A learned beginning, then a greedy climb: what an agent prunes, and what the reward adds."""

from contextlib import suppress
from functools import partial
from typing import Any, Self

from prune_env.baselines.baseline import BoolArray
from prune_env.baselines.reward_greedy import RewardGreedy
from prune_env.baselines.search import Scorer, subject_of
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.play import play_steps
from prune_env.env.policy import (
    IdentifiedPolicy,
    Policy,
    Requirements,
    TrainedStrategy,
    find_policy,
)
from prune_env.errors import BudgetError
from prune_env.evaluation.guard import guard_of

BEGINS = "carried-over"
"""The policy that plays first: an agent that learned on records of real models."""


class _Identity:
    """What tells the agent that plays first from any other, asked of the class or of a policy."""

    def __get__(self, policy: "CarriedClimb | None", owner: type) -> dict[str, Any]:
        first = find_policy(BEGINS) if policy is None else policy._first
        assert isinstance(first, IdentifiedPolicy | TrainedStrategy)  # a trained agent
        return {**first.identity, "then": RewardGreedy.__name__}


class CarriedClimb(RewardGreedy):
    """Let `carried-over` play an episode, then climb the reward from the mask that it leaves.

    The agent asks for some thirty masks and finds what served on the models that it learned on;
    `reward-greedy`, which begins at the unpruned model, finds single units that this model's reward
    asks for. Either stops where the other would go on. All masks count towards one budget.

    Source: a learned policy as the start of a local search is usual in combinatorial optimisation
    (Bengio, Lodi and Prouvost, European Journal of Operational Research 290, 2021).
    """

    identity = _Identity()
    _first: Policy
    _make_env: partial[HeadPruningEnv]

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> Self:
        """Build the policy for an environment, as `RewardGreedy` does, and the agent for it too."""
        policy = super().for_env(env, seed=seed, variant=variant)
        inner = env.unwrapped
        # An environment of its own: the given one may be in the middle of an episode, or show less.
        policy._make_env = partial(
            HeadPruningEnv,
            subject_of(inner),
            reward=inner.core.reward,
            guard=guard_of(policy.evaluator),
        )
        policy._first = find_policy(BEGINS).for_env(policy._make_env(), seed=seed)
        return policy

    def _begin(
        self, scorer: Scorer, rules: EpisodeSettings, tau: float
    ) -> tuple[BoolArray, list[int]]:
        """Return the mask that the agent leaves, and its units in the order in which they went."""
        env = self._make_env(tau=tau, min_heads_per_layer=rules.min_heads_per_layer)
        tried: list[BoolArray] = []
        plan: list[int] = []
        with suppress(BudgetError):
            for step in play_steps(env, self._first, seed=self.seed):
                if step.action == env.mask.size:
                    break  # STOP asks for no mask
                mask = env.mask
                if not mask.flat[step.action]:  # what breaks tau is back
                    plan.append(step.action)
                mask.flat[step.action] = False
                tried.append(mask)
                if len(tried) == scorer.left:
                    break
        if tried:
            scorer(tried)  # they are part of the budget
        mask = scorer.available.copy()
        mask.flat[plan] = False
        return mask, plan

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return find_policy(BEGINS).requirements(variant)
