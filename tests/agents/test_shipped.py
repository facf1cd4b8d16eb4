"""Agents that come with the package are small and whole, and play models that they never saw."""

from dataclasses import replace
from typing import get_args

import gymnasium as gym
import numpy as np
import pytest

from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.shipped import CARRIED_OVER, RECORDED, SHIPPED
from prune_env.agents.trained import TrainedPolicy, learner_names
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.policy import POLICIES, TrainedStrategy, find_policy
from prune_env.env.recorded import recorded_subject
from prune_env.env.subjects import RECORDS
from prune_env.errors import SettingsError
from prune_env.importance.registry import DEFAULT_METRICS, UNIT_METRICS
from prune_env.purification.search import search
from prune_env.research.score.suite import ScoredTask, read_suite
from prune_env.settings import Pruned, SearchSettings


def pruned(policy: str, seed: int) -> float:
    """Return how many of 72 heads it prunes, of three landscapes that no agent saw."""
    rules = SearchSettings(tau=0.85, budget=300)
    unseen = [landscape_subject(seed=each) for each in (501, 502, 503)]
    return float(np.mean([search(each, policy, rules, seed=seed).heads_pruned for each in unseen]))


def strategy_name(algorithm: str) -> str:
    return f"trained-{algorithm.replace('_', '-')}"


@pytest.mark.parametrize("units", get_args(Pruned))
def test_there_is_a_small_one_an_algorithm(units: Pruned) -> None:
    assert sorted(path.name for path in SHIPPED[units].iterdir()) == learner_names()
    for folder in (*SHIPPED[units].iterdir(), *RECORDED[units].iterdir()):
        assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000
        assert read_checkpoint(folder).algorithm == folder.name


@pytest.mark.parametrize("algorithm", learner_names())
def test_it_plays_heads_by_its_name(algorithm: str) -> None:
    name = strategy_name(algorithm)
    strategy = find_policy(name)
    assert isinstance(strategy, TrainedStrategy)
    assert strategy.identity == TrainedPolicy(SHIPPED["heads"] / algorithm).identity
    found = search(landscape_subject(layers=3, heads=5, seed=500), name, SearchSettings(tau=0.85))
    assert found.accuracy >= 0.85
    assert found.evaluations <= 16
    assert found.agent == strategy.identity


@pytest.mark.parametrize("algorithm", learner_names())
def test_it_plays_units_by_the_same_name(algorithm: str) -> None:
    env = gym.make("prune_env/HybridTiny-v0", tau=0.85).unwrapped
    assert isinstance(env, HeadPruningEnv)
    name = strategy_name(algorithm)
    found = search(env.subject, name, SearchSettings(tau=0.85))
    assert found.accuracy >= 0.85
    assert found.agent == TrainedPolicy(SHIPPED["hybrid"] / algorithm).identity
    pruned = env.subject.units.pruned(found.mask)
    assert pruned["neurons"] + pruned["map"] > 0


def test_what_shows_no_kinds_is_told_apart() -> None:
    subject = landscape_subject(layers=3, heads=5, groups=2, steps=2)
    with pytest.raises(SettingsError, match="is_neurons"):
        search(subject, "carried-over", SearchSettings(tau=0.85))


def test_one_that_learned_on_landscapes_prunes_more_than_random_order() -> None:
    random = [pruned("random", seed) for seed in range(5)]
    assert pruned("trained-maskable-ppo", 0) > np.mean(random) + 5


@pytest.mark.parametrize(
    "task", read_suite("v3").tasks_of(["recorded"]), ids=lambda task: task.name
)
def test_the_carried_over_one_is_paid_on_real_models_that_it_never_saw(task: ScoredTask) -> None:
    """Within 40 masks it is paid more than orders and searches are, docs/agents.md."""
    assert POLICIES["carried-over"] is CARRIED_OVER
    rules = replace(task.search, budget=40)
    env = gym.make(task.env, **task.arguments(DEFAULT_METRICS)).unwrapped
    assert isinstance(env, HeadPruningEnv)

    def paid(policy: str, seed: int = 0) -> float:
        mask = search(env.subject, policy, rules, seed=seed).mask[None]
        score = env.subject.evaluator.column(f"reward {task.reward}", mask)
        return float(score[0])

    carried = paid("carried-over")
    assert carried > np.mean([paid("random", seed) for seed in range(5)]) + 0.02
    assert carried > max(paid(policy) for policy in ("gate-gradient", "reward-greedy", "greedy"))


@pytest.mark.parametrize(
    "task", read_suite("v3").tasks_of(["recorded"]), ids=lambda task: task.name
)
@pytest.mark.parametrize("budget", [30, 300])
def test_a_climb_from_where_it_ends_loses_nothing_and_keeps_the_budget(
    task: ScoredTask, budget: int
) -> None:
    env = gym.make(task.env, **task.arguments(DEFAULT_METRICS)).unwrapped
    assert isinstance(env, HeadPruningEnv)
    rules = replace(task.search, budget=budget)
    carried, climbed = (
        search(env.subject, policy, rules) for policy in ("carried-over", "carried-climb")
    )
    paid = env.subject.evaluator.column(
        f"reward {task.reward}", np.stack([carried.mask, climbed.mask])
    )
    assert paid[1] >= paid[0]
    assert (climbed.mask <= carried.mask).all()
    assert carried.evaluations <= climbed.evaluations <= budget
    assert carried.agent
    assert climbed.agent == {**carried.agent, "then": "RewardGreedy"}


def test_a_climb_takes_more_where_it_ends_early() -> None:
    """On the Bible style `carried-over` gets two fifths of the reward, see docs/scoreboard.md."""
    (task,) = (each for each in read_suite("v3").tasks if "bible" in each.name)
    env = gym.make(task.env, **task.arguments(DEFAULT_METRICS)).unwrapped
    assert isinstance(env, HeadPruningEnv)
    masks = [
        search(env.subject, policy, task.search).mask
        for policy in ("carried-over", "carried-climb")
    ]
    paid = env.subject.evaluator.column(f"reward {task.reward}", np.stack(masks))
    assert paid[1] > paid[0] + 0.05


def test_one_that_learned_on_landscapes_prunes_more_units_than_random_order() -> None:
    rules = SearchSettings(max_drop=0.03)
    games = [
        landscape_subject(UNIT_METRICS, 3, 8, seed, groups=8, steps=4) for seed in (501, 502, 503)
    ]
    more = [
        search(each, "trained-maskable-ppo", rules).heads_pruned
        - np.mean([search(each, "random", rules, seed=seed).heads_pruned for seed in range(5)])
        for each in games
    ]
    assert np.mean(more) > 15


@pytest.mark.parametrize("model", ["sst2-hiddenkiller-1-hybrid", "sst2-stylebkd-poetry-1-hybrid"])
def test_the_carried_over_one_for_units_plays_what_it_learned_on(model: str) -> None:
    """What it leaves of models that it never saw is in docs/hybrid.md: they do not ship."""
    subject = recorded_subject(str(RECORDS / f"{model}.npz"), UNIT_METRICS)
    rules = SearchSettings(max_drop=0.02, reward="inverted-trigger")

    def paid(policy: str) -> float:
        found = search(subject, policy, rules)
        assert found.evaluations < 130
        return float(subject.evaluator.column("reward inverted-trigger", found.mask[None])[0])

    assert paid("carried-over") > max(paid("random"), paid("gate-gradient")) + 0.02
