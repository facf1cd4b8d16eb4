"""Every registered baseline: loads by name, plays an environment, and ends within tau."""

import subprocess
import sys
from contextlib import ExitStack

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

import prune_env.baselines
from prune_env.baselines.baseline import Baseline
from prune_env.baselines.search import SearchPolicy
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.policy import POLICIES, Policy, Requirements
from prune_env.errors import SettingsError
from prune_env.importance import METRICS
from prune_env.training.phases import PENALTIES, Phase

NAMES = tuple(prune_env.baselines._POLICIES)
CASES = [(name, variant) for name in NAMES for variant in POLICIES[name].variants]
NO_PRUNING = ("ft", "fth", "meft")


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_policy_plays_the_environment(name: str, variant: str) -> None:
    kind = POLICIES[name]
    assert issubclass(kind, Baseline)
    required: Requirements = kind.requirements(variant)
    subject = landscape_subject(required.metrics or ("magnitude",), layers=4, heads=8)
    env = HeadPruningEnv(
        subject,
        metrics=subject.metrics,
        tau=0.7 if required.tau is None else required.tau,
        prune_step=required.prune_step or 3,
    )
    policy = kind.for_env(env, seed=1, variant=variant)
    assert isinstance(policy, Policy)
    assert policy.metrics == subject.metrics
    observation, info = env.reset(seed=0)
    done = False
    for _ in range(33):
        action, _ = policy.predict(observation, action_masks=info["action_mask"].astype(bool))
        observation, _, done, _, info = env.step(action)
        assert info["illegal"] == ""
        if done:
            break
    assert done
    assert info["accuracy"] >= env.settings.tau
    assert (info["heads_pruned"] > 0) == (name not in NO_PRUNING)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_requirement_names_things_that_exist(name: str, variant: str) -> None:
    required = POLICIES[name].requirements(variant)
    assert all(metric in METRICS for metric in required.metrics)
    phases: tuple[Phase, ...] = required.search + required.final
    assert all(phase.penalty is None or phase.penalty in PENALTIES for phase in phases)


def test_sb3_evaluates_a_baseline_unchanged() -> None:
    env = gym.make("prune_env/Landscape-v0", tau=0.85)
    policy = POLICIES["gate-gradient"].for_env(env)
    mean, spread = evaluate_policy(policy, env, n_eval_episodes=2, warn=False)
    assert mean > 0.1
    assert spread == pytest.approx(0.0)


def test_a_vector_environment_is_played_as_a_batch() -> None:
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=3, tau=0.85)
    policy = POLICIES["gradient"].for_env(envs)
    observation, info = envs.reset(seed=0)
    for _ in range(3):
        masks = np.asarray(info["action_mask"], dtype=bool)
        actions, _ = policy.predict(observation, action_masks=masks)
        assert actions.shape == (3,)
        assert len(set(actions.tolist())) == 1
        observation, _, _, _, info = envs.step(actions)
    envs.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("observation", ["mask", "legal", "mask,importance", "mask,status"])
def test_what_a_policy_reads_is_shown_or_asked_for(name: str, observation: str) -> None:
    subject = landscape_subject(POLICIES[name].requirements().metrics or ("magnitude",), 2, 4)
    env = HeadPruningEnv(subject, metrics=subject.metrics, observation=observation, tau=0.7)
    shown = observation.split(",")
    searches = issubclass(POLICIES[name], SearchPolicy)
    reads = (*POLICIES[name].reads, *(["status"] if searches else []))
    missing = [part for part in reads if part not in shown]
    with ExitStack() as stack:
        if missing:
            message = f"{POLICIES[name].__name__} reads .*show: {missing[0]}.*leave `observation`"
            stack.enter_context(pytest.raises(SettingsError, match=message))
        policy = POLICIES[name].for_env(env)
        policy.predict(env.reset(seed=0)[0])
    if searches and "mask" in shown:  # a search of its own needs no status
        policy = POLICIES[name].for_env(env).learn(env, max_evaluations=3)
        policy.predict(env.reset(seed=0)[0])


def test_listing_policies_imports_no_torch() -> None:
    code = (
        "import sys, prune_env.baselines; from prune_env.env.policy import POLICIES; "
        "POLICIES['gradient']; POLICIES['greedy']; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
