"""Whatever plays heads plays units: every baseline, every kind of agent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prune_env.baselines
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy
from prune_env.agents.recommended import BEST_MET, judge_best_met
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.hybrid import with_units
from prune_env.env.policy import POLICIES, Learner, Requirements
from prune_env.env.rewards.oracle import Oracle
from prune_env.env.subject import Subject
from prune_env.evaluation import MaskEvaluator
from prune_env.importance.registry import UNIT_METRICS
from prune_env.models import load_classifier
from prune_env.models.masks import UNIT_MASK_VERSION, oracle_mark_of
from prune_env.settings import UnitSettings
from prune_env.utils.files import read_json
from tests.env.test_hybrid import subject_of

HYBRID = {"neuron_groups": 2, "map_steps": 2}
CASES = [
    (name, variant) for name in prune_env.baselines._POLICIES for variant in POLICIES[name].variants
]
STILL = ("ft", "fth", "meft")


@pytest.fixture(scope="module")
def subject(tiny_folder: Any) -> Subject:
    return subject_of(load_classifier(tiny_folder))


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_baseline_plays_units(name: str, variant: str, subject: Subject) -> None:
    kind = POLICIES[name]
    required: Requirements = kind.requirements(variant)
    env = HeadPruningEnv(
        subject,
        metrics=tuple(dict.fromkeys((*UNIT_METRICS, *required.metrics))),
        tau=0.4 if required.tau is None else required.tau,
        prune_step=required.prune_step or 2,
        **HYBRID,
    )
    policy = kind.for_env(env, seed=1, variant=variant)
    if isinstance(policy, Learner):
        policy.learn(env, total_steps=1, max_evaluations=40)
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        action, _ = policy.predict(observation, action_masks=info["action_mask"].astype(bool))
        observation, _, done, _, info = env.step(action)
        assert info["illegal"] == ""
    assert info["accuracy"] >= env.settings.tau
    assert any(info["units_pruned"].values()) == (name not in STILL)


def test_a_search_finds_units_that_are_not_heads(subject: Subject) -> None:
    """Quiet neurons and weak refits cost less than heads, so a greedy search takes them."""
    env = HeadPruningEnv(subject, metrics=UNIT_METRICS, tau=0.5, **HYBRID)
    policy = POLICIES["greedy"].for_env(env, seed=0)
    policy.learn(env, total_steps=1, max_evaluations=120)
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        action, _ = policy.predict(observation, action_masks=info["action_mask"].astype(bool))
        observation, _, done, _, info = env.step(action)
    assert min(info["units_pruned"].values()) > 0


@pytest.mark.parametrize("name", ["epsilon-greedy", "dqn", "ppo", "a2c", "maskable_ppo"])
def test_every_agent_learns_on_units(name: str, subject: Subject) -> None:
    env = HeadPruningEnv(
        subject, metrics=UNIT_METRICS, tau=0.4, observation="mask,importance,status,legal", **HYBRID
    )
    agent = POLICIES[name].for_env(env, seed=0)
    agent.learn(env, total_steps=150)
    observation, info = env.reset(seed=0)
    legal = info["action_mask"].astype(bool)
    action, _ = agent.predict(observation, deterministic=True, action_masks=legal)
    assert legal[int(np.asarray(action).item())]


@pytest.mark.parametrize("oracle", [False, True])
def test_the_mask_of_units_that_the_trigger_chose_says_so(
    subject: Subject, tmp_path: Path, oracle: bool
) -> None:
    """That reward is an object: the way by names has triggered texts of recorded models alone."""
    cut = with_units(subject, UNIT_METRICS, UnitSettings(groups=2, steps=2, sentences=16))
    suspect = cut.require_suspect()
    hidden = MaskEvaluator(
        suspect.loaded.model,
        suspect.loaded.tokenizer,
        suspect.validation.where(0),
        unit_map=suspect.unit_map,
    )
    reward = Oracle(hidden) if oracle else "sparsity"
    env = HeadPruningEnv(cut, metrics=UNIT_METRICS, tau=0.0, reward=reward, **HYBRID)
    agent = EpsilonGreedy.for_env(env, hyperparameters={"hidden": 8})
    agent.learn(env, total_steps=40)
    met = judge_best_met(agent.record, env, tmp_path)
    assert met is not None
    assert "units_pruned" in met
    content = read_json(tmp_path / BEST_MET)
    assert content["version"] == UNIT_MASK_VERSION
    assert content["meta"].get("oracle", False) == oracle
    assert oracle_mark_of(read_json(tmp_path / BEST_MET)) == ({"oracle": True} if oracle else {})
