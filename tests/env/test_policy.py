"""Strategies are found by name without anybody having imported them."""

import subprocess
import sys
from typing import Any

import pytest

from prune_env.agents.agent import Agent
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.policy import (
    POLICIES,
    EnsemblePolicy,
    Learner,
    Policy,
    Requirements,
    Strategy,
    TrainedStrategy,
    find_policy,
    requirements_of,
)
from prune_env.errors import SettingsError


@pytest.fixture(scope="module")
def env() -> HeadPruningEnv:
    metrics = ("cls_variance", "key_gradient", "magnitude", "gate_gradient", "dropout_spread")
    return HeadPruningEnv(landscape_subject(metrics, layers=2, heads=3), metrics=metrics)


@pytest.mark.parametrize(
    "code",
    [
        "from prune_env import POLICIES; POLICIES['gradient']",
        "from prune_env import POLICIES; assert 'ppo' in POLICIES",
        "from prune_env import POLICIES; assert 'greedy' in POLICIES.names()",
        "from prune_env import POLICIES; assert any(each.name == 'ft' for each in POLICIES)",
        "from prune_env.training.phases import PENALTIES; PENALTIES['max-entropy']",
    ],
)
def test_a_name_is_found_in_a_new_process(code: str) -> None:
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("gradient", {Policy}),
        ("random-ensemble", {Policy, EnsemblePolicy}),
        ("greedy", {Policy, Learner}),
        ("epsilon-greedy", {Policy, Learner, Agent}),
    ],
)
def test_what_a_strategy_makes_is_told_by_its_protocols(
    env: HeadPruningEnv, name: str, kinds: set[type]
) -> None:
    strategy = find_policy(name)
    assert isinstance(strategy, Strategy)
    assert not isinstance(strategy, TrainedStrategy)
    policy = strategy.for_env(env, seed=3, variant="paper")
    asked = (Policy, EnsemblePolicy, Learner, Agent)
    assert {kind for kind in asked if isinstance(policy, kind)} == kinds


class Stops:
    """All that a policy of a user needs: it always stops."""

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0) -> "Stops":
        return cls()

    def predict(self, observation: Any, state: Any = None, **named: Any) -> tuple[int, Any]:
        return observation["mask"].size, state


def test_a_policy_that_only_plays_requires_nothing(
    env: HeadPruningEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    POLICIES.register("stops", Stops, help="a test")
    assert requirements_of("stops") == Requirements()
    assert isinstance(find_policy("stops").for_env(env, seed=1, variant="paper"), Stops)
    with pytest.raises(SettingsError, match="stops has no variant 'released'"):
        requirements_of("stops", "released")
    with pytest.raises(SettingsError, match="stops has no variant 'released'"):
        find_policy("stops").for_env(env, variant="released")


class DemandsInVain(Stops):
    """Its requirements are of another kind."""

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0, variant: str = "paper") -> "DemandsInVain":
        return cls()

    @staticmethod
    def requirements(variant: str = "paper") -> dict[str, Any]:
        return {"metrics": ()}


def test_requirements_of_another_kind_name_their_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    POLICIES.register("mine", DemandsInVain, help="none")
    with pytest.raises(SettingsError, match=r"`requirements` of the policy 'mine' tells none"):
        requirements_of("mine")


@pytest.mark.parametrize("target", [5, dict, object()])
def test_what_is_no_policy_is_named_where_it_is_found(
    monkeypatch: pytest.MonkeyPatch, target: object
) -> None:
    monkeypatch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    POLICIES.register("mine", target, help="none")
    with pytest.raises(SettingsError, match=r"'mine' makes no policy.*for_env"):
        find_policy("mine")
