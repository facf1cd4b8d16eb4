"""Properties of every episode, whatever is played."""

import json
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.vector_env import HeadPruningVectorEnv

SUBJECTS = [
    landscape_subject(("magnitude",), layers=2, heads=3, seed=seed, sentences=60)
    for seed in range(4)
]
POOL = [*SUBJECTS, landscape_subject(("magnitude",), layers=1, heads=4, sentences=60)]

rules = st.fixed_dictionaries(
    {
        "tau": st.sampled_from([0.0, 0.6, 0.8, 0.9, 1.0]),
        "prune_step": st.integers(1, 5),
        "backtrack": st.booleans(),
        "min_heads_per_layer": st.integers(0, 2),
        "max_evaluations": st.none() | st.integers(1, 5),
        "reward": st.sampled_from(["sparsity", "sparsity + -0.5 * accuracy"]),
    }
)
ANY_ACTION = st.one_of(
    st.integers(-2, 11), st.floats(allow_nan=True), st.none(), st.booleans(), st.text(max_size=2)
)


@settings(deadline=None, max_examples=60)
@given(rules=rules, seed=st.integers(0, 99), choices=st.lists(st.integers(0, 99), max_size=20))
def test_legal_play(rules, seed, choices):
    env = HeadPruningEnv(pool=POOL, **rules)
    observation, info = env.reset(seed=seed)
    evaluator, total = env.evaluator, int(env.available.sum())
    base = evaluator.accuracy(env.mask[None])[0]
    tau, paid, asked = rules["tau"], 0.0, 0
    terminated = False
    for choice in choices:
        if terminated:
            break
        legal = np.flatnonzero(info["action_mask"])
        assert legal[-1] == env.action_space.n - 1
        observation, reward, terminated, truncated, info = env.step(legal[choice % len(legal)])
        paid += reward
        # Types and spaces
        assert observation in env.observation_space
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        assert not truncated
        assert info["illegal"] == ""
        # Counts
        mask = env.mask
        assert info["heads_pruned"] == total - mask.sum()
        seen = total - observation["mask"].sum()
        assert seen == info["heads_pruned"] + info["unchecked"]
        assert info["unchecked"] < rules["prune_step"]
        assert info["evaluations"] >= asked
        asked = info["evaluations"]
        if rules["max_evaluations"]:
            assert asked <= rules["max_evaluations"]
        kept = np.minimum(rules["min_heads_per_layer"], env.available.sum(axis=1))
        assert (observation["mask"].sum(axis=1) >= kept).all()
        # Truth: the reward and the accuracy are those of the evaluator
        accuracy = evaluator.accuracy(mask[None])[0]
        assert info["accuracy"] == accuracy
        assert accuracy >= tau or base < tau
        worth = 1 - mask.sum() / total
        if "accuracy" in rules["reward"]:
            worth -= 0.5 * (accuracy - base)
        np.testing.assert_allclose(paid, worth, atol=1e-12)
        np.testing.assert_allclose(sum(info["reward_terms"].values()), reward, atol=1e-12)
        enough = info["heads_pruned"] >= max(1, total / 4)
        assert info["is_success"] == (bool(accuracy >= tau) and enough)
    assert env.validate(env.state).ok


@settings(deadline=None, max_examples=30)
@given(
    num_envs=st.sampled_from([1, 3]),
    rules=rules,
    seed=st.integers(0, 99),
    columns=st.lists(st.lists(ANY_ACTION, min_size=3, max_size=3), max_size=12),
)
def test_any_action_at_all(num_envs, rules, seed, columns):
    """Nothing that is not an action raises, and N together play what each plays alone."""
    envs = HeadPruningVectorEnv(num_envs, pool=POOL, autoreset_mode="SameStep", **rules)
    singles = [HeadPruningEnv(pool=POOL, **rules) for _ in range(num_envs)]
    observations, _ = envs.reset(seed=seed)
    for index, single in enumerate(singles):
        single.reset(seed=seed + index)
    for column in columns:
        actions = column[:num_envs]
        observations, rewards, terminations, _, infos = envs.step(actions)
        assert observations in envs.observation_space
        for index, (single, action) in enumerate(zip(singles, actions, strict=True)):
            observation, reward, terminated, _, info = single.step(action)
            assert (rewards[index], terminations[index]) == (reward, terminated)
            if info["illegal"]:
                assert reward == 0
                assert not terminated
            if terminated:
                observation, info = single.reset()
            assert infos["model"][index] == info["model"]
            for part, value in observation.items():
                np.testing.assert_array_equal(observations[part][index], value)


@settings(deadline=None, max_examples=40)
@given(
    subject=st.sampled_from(SUBJECTS),
    heads=st.lists(st.integers(0, 5), unique=True, max_size=4),
    order=st.randoms(),
)
def test_the_order_of_heads_does_not_matter(subject, heads, order):
    shuffled = list(heads)
    order.shuffle(shuffled)
    ends = []
    for sequence in (heads, shuffled):
        env = HeadPruningEnv(subject, tau=0.0, min_heads_per_layer=0, reward="accuracy")
        observation, info = env.reset()
        total = 0.0
        for action in sequence:
            observation, reward, _, _, info = env.step(action)
            total += reward
        ends.append((observation, info, total))
    (one, info, total), (other, other_info, other_total) = ends
    np.testing.assert_array_equal(info["mask"], other_info["mask"])
    assert info["accuracy"] == other_info["accuracy"]
    np.testing.assert_allclose(total, other_total, atol=1e-12)
    for part in one:
        np.testing.assert_array_equal(one[part], other[part])


def told_by(pool, seed, actions):
    """Return everything that an episode tells, as JSON."""
    env = HeadPruningEnv(pool=pool, prune_step=2, tau=0.0, reward="sparsity + accuracy")
    observation, info = env.reset(seed=seed)
    told = [[observation["importance"].tolist(), info["model"]]]
    for action in actions:
        observation, reward, terminated, _, info = env.step(action)
        told.append([observation["status"].tolist(), reward, terminated, info["mask"].tolist()])
    return json.dumps([told, env.state.to_dict()])


def test_a_replay_in_a_new_process_is_the_same_trajectory():
    pool = ["landscape:layers=2,heads=4,seed=8", "landscape:layers=3,heads=3,seed=9"]
    arguments = (pool, 5, [3, 1, 7, 4, 2])
    code = f"from tests.env.test_properties import told_by; print(told_by(*{arguments}))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert process.stdout.strip() == told_by(*arguments)
    assert json.loads(process.stdout)[1]["pruned"]
