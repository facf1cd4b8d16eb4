"""The rules of an episode."""

import numpy as np
import pytest

from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.vector_env import HeadPruningVectorEnv
from prune_env.errors import SettingsError, StateError
from tests.env.support import PrescribedEvaluator, env_over, falls_by, subject_over

STOP = 8


def test_accuracy_is_looked_at_after_every_group():
    evaluator = PrescribedEvaluator(falls_by(0.0))
    env = env_over(evaluator, prune_step=3)
    env.reset()
    asked = []
    for action in (0, 1, 4, 5):
        asked.append(env.step(action)[4]["evaluations"])
    assert asked == [0, 0, 1, 1]
    assert evaluator.evaluations == 2  # the unpruned model, one group


def test_unchecked_heads_show_in_the_observation_only():
    env = env_over(PrescribedEvaluator(falls_by(0.0)), prune_step=2)
    env.reset()
    observation, reward, _, _, info = env.step(5)
    assert observation["mask"][1, 1] == 0
    assert observation["status"][2] == 1 / 8
    assert info["mask"].all()
    assert (info["heads_pruned"], info["unchecked"], reward) == (0, 1, 0.0)
    _, reward, _, _, info = env.step(6)
    assert (info["heads_pruned"], info["unchecked"], reward) == (2, 0, 2 / 8)


def test_a_failed_group_is_restored_last_pruned_first():
    # Four heads may go at 0.1 each; with its second group the episode has pruned six.
    evaluator = PrescribedEvaluator(falls_by(0.1))
    env = env_over(evaluator, prune_step=3, tau=0.55, min_heads_per_layer=0)
    env.reset()
    for action in (0, 1, 2, 7, 6):
        _, _, terminated, _, _ = env.step(action)
        assert not terminated
    observation, reward, terminated, truncated, info = env.step(5)
    assert (terminated, truncated, info["ended"]) == (True, False, "tau")
    assert sorted(zip(*np.nonzero(~info["mask"]), strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 3)]
    assert info["accuracy"] == pytest.approx(0.6)
    assert info["evaluations"] == 1 + 3
    assert reward == 1 / 8
    assert (observation["mask"] == info["mask"]).all()


def test_without_backtracking_the_whole_group_is_restored():
    evaluator = PrescribedEvaluator(falls_by(0.1))
    env = env_over(evaluator, prune_step=3, tau=0.55, backtrack=False, min_heads_per_layer=0)
    env.reset()
    for action in (0, 1, 2, 7, 6, 5):
        _, _, terminated, _, info = env.step(action)
    assert terminated
    assert info["heads_pruned"] == 3
    assert info["evaluations"] == 2


def test_stop_checks_the_open_group():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), prune_step=4, tau=0.85)
    env.reset()
    env.step(0)
    env.step(1)
    _, _, terminated, _, info = env.step(STOP)
    assert terminated
    assert info["ended"] == "tau"
    assert info["heads_pruned"] == 1
    assert info["accuracy"] >= 0.85


def test_the_mask_satisfies_tau_whenever_the_episode_is_cut():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), prune_step=4, tau=0.85)
    env.reset()
    for action in (0, 1, 2):
        info = env.step(action)[4]
        assert env.evaluator.accuracy(info["mask"][None])[0] >= 0.85
        assert env.evaluator.accuracy(env.mask[None])[0] >= 0.85


def test_a_budget_ends_the_episode_with_a_checked_mask():
    env = env_over(PrescribedEvaluator(falls_by(0.1)), prune_step=3, tau=0.85, max_evaluations=1)
    env.reset()
    env.step(0)
    env.step(1)
    observation, _, terminated, truncated, info = env.step(4)
    assert (terminated, truncated) == (True, False)
    assert info["evaluations"] == 1
    assert info["ended"] == "tau"  # which it broke with the last mask that it had
    assert info["mask"].all()  # there was no evaluation left to find a part of the group
    assert observation["status"][3] == 0


def test_a_budget_counts_down_in_the_observation():
    env = env_over(PrescribedEvaluator(falls_by(0.0)), max_evaluations=4)
    observation, _ = env.reset()
    left = [observation["status"][3]]
    for action in (0, 1, 4):
        observation, _, terminated, _, _ = env.step(action)
        left.append(observation["status"][3])
    assert left == [1, 0.75, 0.5, 0.25]
    assert not terminated
    _, _, terminated, _, info = env.step(5)
    assert terminated
    assert info["ended"] == "budget"
    assert info["heads_pruned"] == 4


def test_below_tau_from_the_start_only_stop_is_legal():
    env = env_over(PrescribedEvaluator(falls_by(0.1, start=0.8)), tau=0.85)
    observation, info = env.reset()
    assert info["action_mask"].tolist() == [0] * 8 + [1]
    assert observation["status"][1] < 0
    info = env.step(3)[4]
    assert info["illegal"] == "the unpruned model is below tau"
    _, reward, terminated, _, info = env.step(STOP)
    assert (terminated, info["ended"], info["is_success"], reward) == (True, "stop", False, 0.0)
    assert info["mask"].all()


def test_every_layer_keeps_its_least_number_of_heads():
    env = env_over(PrescribedEvaluator(falls_by(0.0)), min_heads_per_layer=2)
    _, info = env.reset()
    env.step(0)
    info = env.step(2)[4]
    assert info["action_mask"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert env.step(1)[4]["illegal"] == "the layer keeps no more heads than it must"


def test_all_heads_may_go_where_a_user_allows_it():
    env = env_over(PrescribedEvaluator(falls_by(0.0)), min_heads_per_layer=0)
    env.reset()
    for action in range(8):
        info = env.step(action)[4]
    assert info["heads_pruned"] == 8
    assert info["action_mask"].tolist() == [0] * 8 + [1]


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (9, "out of range"),
        (-1, "out of range"),
        (2**70, "out of range"),
        (3.0, "not a whole number"),
        (float("nan"), "not a whole number"),
        (np.float32(2), "not a whole number"),
        (True, "not a whole number"),
        (None, "not a whole number"),
        ("3", "not a whole number"),
        ([1, 2], "not a whole number"),
        ([[1], [2, 3]], "not a whole number"),
        (5, "already pruned"),
    ],
)
def test_an_illegal_action_changes_nothing_and_is_reported(action, reason):
    evaluator = PrescribedEvaluator(falls_by(0.0))
    env = env_over(evaluator)
    env.reset()
    before = env.step(5)
    asked = evaluator.evaluations
    observation, reward, terminated, truncated, info = env.step(action)
    assert info["illegal"] == reason
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert evaluator.evaluations == asked
    for part, value in observation.items():
        assert (value == before[0][part]).all()
    assert (info["mask"] == before[4]["mask"]).all()
    assert env.step(6)[4]["illegal"] == ""


@pytest.mark.parametrize("action", [np.int64(5), np.array(5), np.array([5]), np.uint8(5)])
def test_whole_numbers_of_any_kind_are_actions(action):
    env = env_over(PrescribedEvaluator(falls_by(0.0)))
    env.reset()
    assert env.step(action)[4]["heads_pruned"] == 1


def test_play_out_of_order_is_an_error():
    env = env_over(PrescribedEvaluator(falls_by(0.0)))
    with pytest.raises(StateError, match="call reset"):
        env.step(0)
    env.reset()
    env.step(STOP)
    with pytest.raises(StateError, match="has ended"):
        env.step(0)
    env.reset()
    env.step(0)


def test_tau_is_kept_at_equality():
    env = env_over(PrescribedEvaluator(lambda mask: 17 / 20), tau=0.85, success_share=0.0)
    env.reset()
    _, _, terminated, _, info = env.step(0)
    assert not terminated
    assert info["is_success"]


def test_heads_of_the_open_group_are_gone_for_what_is_legal():
    env = env_over(PrescribedEvaluator(falls_by(0.0)), prune_step=4, min_heads_per_layer=2)
    env.reset()
    env.step(0)
    assert env.step(0)[4]["illegal"] == "already pruned"
    info = env.step(1)[4]
    assert info["mask"].all()
    assert info["action_mask"].tolist() == [0] * 4 + [1] * 5


def test_an_illegal_action_may_end_the_episode():
    env = env_over(PrescribedEvaluator(falls_by(0.01)), prune_step=2, end_on_illegal=True)
    env.reset()
    for action in (0, 1, 2):
        env.step(action)
    observation, reward, terminated, _, info = env.step(0)
    assert (terminated, info["ended"], info["illegal"], reward) == (
        True,
        "illegal",
        "already pruned",
        0.0,
    )
    assert info["heads_pruned"] == 2  # the third was not looked at
    assert observation["mask"].sum() == 6
    assert info["action_mask"].tolist() == [0] * 8 + [1]
    assert env.state.ended == "illegal"
    assert env.validate(env.state).ok


def test_an_illegal_action_may_cost():
    env = env_over(PrescribedEvaluator(falls_by(0.01)), illegal_penalty=0.05)
    env.reset()
    env.step(5)
    _, reward, terminated, _, info = env.step(5)
    assert (reward, terminated, info["illegal"]) == (-0.05, False, "already pruned")
    assert info["reward_terms"] == {"sparsity": 0.0, "illegal": -0.05}
    _, reward, _, _, info = env.step(6)
    assert info["reward_terms"] == {"sparsity": reward, "illegal": 0.0}
    assert reward == 1 / 8
    assert env.state.total_reward == 2 / 8  # a state holds legal actions, and what they earn
    assert env.state.settings.illegal_penalty == env.state.to_dict()["settings"]["illegal_penalty"]
    assert env.validate(env.state).ok


def test_an_illegal_action_may_cost_and_end_the_episode():
    rules = {"illegal_penalty": 1.0, "end_on_illegal": True}
    envs = HeadPruningVectorEnv(2, subject_over(PrescribedEvaluator(falls_by(0.01))), **rules)
    envs.reset()
    _, rewards, terminations, _, infos = envs.step(np.array([0, 99]))
    assert rewards.tolist() == [1 / 8, -1.0]
    assert terminations.tolist() == [False, True]
    assert infos["reward_terms"]["illegal"].tolist() == [0.0, -1.0]


@pytest.mark.parametrize(("share", "heads"), [(0.25, 2), (0.0, 1), (0.5, 4)])
def test_a_success_prunes_its_share_of_the_heads(share, heads):
    env = env_over(PrescribedEvaluator(falls_by(0.01)), success_share=share)
    _, info = env.reset()
    told = [info["is_success"]] + [env.step(head)[4]["is_success"] for head in (0, 1, 2, 4, 5)]
    assert told == [pruned >= heads for pruned in range(6)]


def test_a_share_of_the_heads_is_not_missed_by_rounding():
    """In floating point 0.07 * 100 is more than 7."""
    evaluator = PrescribedEvaluator(lambda mask: 1.0, shape=(4, 25))
    env = env_over(evaluator, success_share=0.07)
    env.reset()
    assert [env.step(head)[4]["is_success"] for head in range(7)] == [False] * 6 + [True]


def test_tau_may_hang_on_the_model():
    for start in (1.0, 0.7):
        env = env_over(PrescribedEvaluator(falls_by(0.02, start)), tau=None, max_drop=0.05)
        observation, info = env.reset()
        assert info["tau"] == start - 0.05
        assert observation["status"][1] == pytest.approx(0.05)
        for action in (0, 1, 2):
            info = env.step(action)[4]
        assert (info["heads_pruned"], info["ended"]) == (2, "tau")
        assert env.validate(env.state).ok


@pytest.mark.parametrize(
    "settings",
    [
        {"tau": 85},
        {"max_drop": -0.1},
        {"tau": -0.1},
        {"tau": float("nan")},
        {"prune_step": 0},
        {"prune_step": 1.5},
        {"min_heads_per_layer": -1},
        {"max_evaluations": 0},
        {"success_share": 1.5},
        {"illegal_penalty": -1.0},
        {"illegal_penalty": float("inf")},
        {"illegal_penalty": float("nan")},
    ],
)
def test_settings_are_checked(settings):
    with pytest.raises(SettingsError):
        EpisodeSettings(**settings)
