"""N episodes in step: equal to single ones, and scored together."""

import json
from dataclasses import replace

import numpy as np
import pytest

from prune_env.env.batch_core import BatchCore
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.landscape import landscape_subject
from prune_env.env.observation import make_observation
from prune_env.env.pool import Pool
from prune_env.env.rewards.reward import make_reward
from prune_env.errors import SettingsError, StateError
from tests.env.support import PrescribedEvaluator, falls_by, random_legal, subject_over

SUBJECTS = [
    landscape_subject(layers=3, heads=4, seed=1),
    landscape_subject(layers=2, heads=6, seed=2),
]


METRICS = tuple(reversed(SUBJECTS[0].metrics))


def make_core(num_envs, subjects=SUBJECTS, **settings):
    return BatchCore(
        Pool(subjects),
        EpisodeSettings(**{"tau": 0.8, "prune_step": 2, **settings}),
        make_reward("sparsity + 0.5 * accuracy"),
        make_observation("mask,importance,status,legal"),
        num_envs=num_envs,
    )


def play(core, slot, actions):
    """Return everything that one slot answers to a list of actions."""
    told = []
    for action in actions:
        outcome = core.step([action], [slot])[0]
        told.append(outcome)
        if outcome.terminated:
            break
    return told


def assert_same(one, other):
    one, other = dict(one._asdict()), dict(other._asdict())
    observations = one.pop("observation"), other.pop("observation")
    arrays = [(info.pop("mask"), info.pop("action_mask")) for info in (one["info"], other["info"])]
    assert one == other
    for left, right in [
        *zip(observations[0].values(), observations[1].values(), strict=True),
        *zip(*arrays, strict=True),
    ]:
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_an_episode_does_not_depend_on_its_company(num_envs):
    together = make_core(num_envs)
    random = np.random.default_rng(0)
    seeds = list(range(num_envs))
    starts = together.reset(seeds)
    alone = []
    for seed, (observation, _) in zip(seeds, starts, strict=True):
        core = make_core(1)
        (single, _), *_ = core.reset([seed])
        np.testing.assert_array_equal(single["importance"], observation["importance"])
        alone.append(core)
    live = list(range(num_envs))
    infos = {slot: info for slot, (_, info) in enumerate(starts)}
    while live:
        actions = [random_legal(infos[slot], random, stop=False) for slot in live]
        outcomes = together.step(actions, live)
        for slot, action, outcome in zip(live, actions, outcomes, strict=True):
            infos[slot] = dict(outcome.info)
            assert_same(outcome, alone[slot].step([action])[0])
        live = [
            slot
            for slot, outcome in zip(live, outcomes, strict=True)
            if not outcome.terminated and infos[slot]["action_mask"][:-1].any()
        ]


def test_masks_of_all_episodes_are_scored_in_one_call():
    evaluator = PrescribedEvaluator(falls_by(0.01))
    core = make_core(8, [subject_over(evaluator)], prune_step=1)
    core.reset()
    assert (evaluator.calls, evaluator.evaluations) == (1, 8)
    core.step([0, 1, 2, 3, 4, 5, 6, 7])
    assert (evaluator.calls, evaluator.evaluations) == (2, 16)
    core.step([8] * 8)
    assert evaluator.calls == 2


def test_seeds_draw_the_model():
    core = make_core(8)
    infos = [info for _, info in core.reset(list(range(8)))]
    assert {info["model"] for info in infos} == set(core.pool.names)
    again = [info for _, info in core.reset(list(range(8)))]
    assert [info["model"] for info in infos] == [info["model"] for info in again]


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (landscape_subject(layers=3, heads=4, seed=1), "the same name"),
        (landscape_subject(METRICS, layers=3, heads=4, seed=7), "other metrics"),
    ],
)
def test_models_of_a_pool_fit_together(subject, said):
    with pytest.raises(SettingsError, match=said):
        Pool([SUBJECTS[0], subject])


@pytest.mark.parametrize("shape", [(1, 5), (4, 1)])
def test_a_model_that_is_larger_in_one_way_does_not_fit(shape):
    core = make_core(1, SUBJECTS[:1])
    with pytest.raises(SettingsError, match=f"3 layers x 4 heads.*{shape[0]} x {shape[1]}"):
        core.reset(options={"model": landscape_subject(layers=shape[0], heads=shape[1])})


def test_a_saved_core_goes_on_as_if_nothing_had_happened():
    core = make_core(2)
    core.reset([3, 4])
    core.step([0, 1])
    saved = json.loads(json.dumps(core.save()))
    other = make_core(2)
    other.restore(saved)
    for slot in range(2):
        for one, two in zip(
            play(core, slot, [2, 3, 24]), play(other, slot, [2, 3, 24]), strict=True
        ):
            assert_same(one, two)
    first, second = core.reset(), other.reset()
    assert [info["model"] for _, info in first] == [info["model"] for _, info in second]


def test_all_of_a_core_is_saved_and_nothing_of_it_shared():
    """A group was looked at and another is open; one ended; one was refused its last action."""
    core = make_core(3, tau=0.5, end_on_illegal=False)
    core.reset([3, 4, 5])
    for actions in ([0, 1, 2], [5, 6, 7], [4, -1, 99]):
        core.step(actions)
    core.step([core.action_space.n - 1], [1])
    saved = core.save()
    assert [one["episode"]["evaluations"] for one in saved] == [1, 1, 1]
    assert [one["episode"]["ended"] for one in saved] == ["", "stop", ""]
    assert [bool(one["episode"]["illegal"]) for one in saved] == [False, False, True]
    text = json.dumps(saved)
    other = make_core(3, tau=0.5)
    other.restore(json.loads(text))
    assert other.save() == saved
    core.step([8, 9], [0, 2])
    assert json.dumps(saved) == text
    # What was restored was the episodes: the models have all their heads.
    for _, info in other.reset(options={"model": SUBJECTS[0].name}):
        assert info["mask"].sum() == SUBJECTS[0].evaluator.available.sum()


def test_an_episode_of_a_model_that_was_named_at_a_reset_is_restored():
    """As with a folder, which is found by its path and called by the last part of it."""

    def core_of_names():
        found = landscape_subject(layers=2, heads=3, seed=5)
        pool = Pool(SUBJECTS[:1], lambda path: {"some/model": found}[path])
        parts = make_observation("mask")
        return BatchCore(pool, EpisodeSettings(tau=0.0), make_reward("sparsity"), parts)

    core, other = core_of_names(), core_of_names()
    core.reset(options={"model": "some/model"})
    core.step([1])
    other.restore(json.loads(json.dumps(core.save())))
    assert_same(core.step([2])[0], other.step([2])[0])


def test_an_episode_of_another_model_of_the_same_name_is_refused():
    """What a reset was given as an object is found again by its name alone."""
    core = make_core(2, SUBJECTS[:1])
    core.reset([3, 4])
    core.step([0, 1])
    before = core.save()
    same_name = replace(landscape_subject(layers=3, heads=4, seed=9), name=SUBJECTS[0].name)
    core.reset(options={"model": same_name}, slots=[1])
    saved = json.loads(json.dumps(core.save()))
    other = make_core(2, SUBJECTS[:1])
    other.restore(before)
    with pytest.raises(StateError, match="another model"):
        other.restore(saved)
    assert other.save() == before


def test_an_episode_of_a_release_that_told_no_fingerprint_is_restored():
    core, other = make_core(1), make_core(1)
    core.reset([3])
    saved = core.save()
    del saved[0]["episode"]["fingerprint"]
    other.restore(saved)
    assert_same(core.step([2])[0], other.step([2])[0])


def test_a_reset_of_some_slots_leaves_what_the_others_were_paid():
    core = make_core(2, prune_step=1)
    core.reset([3, 4])
    core.step([0, 0])
    paid = core.total_reward(0)
    assert paid != 0
    core.reset(slots=[1])
    assert (core.total_reward(0), core.total_reward(1)) == (paid, 0)


def test_a_core_of_another_size_is_refused():
    core = make_core(2)
    with pytest.raises(StateError, match="Expected: 3"):
        make_core(3).restore(core.save())


def test_steps_are_counted_to_truncation():
    core = BatchCore(
        Pool(SUBJECTS[:1]),
        EpisodeSettings(tau=0.5),
        make_reward("sparsity"),
        make_observation("mask"),
        max_episode_steps=2,
    )
    core.reset()
    told = [core.step([-1])[0], core.step([0])[0]]
    assert [(one.terminated, one.truncated) for one in told] == [(False, False), (False, True)]
    core.reset()
    assert [core.step([-1])[0].truncated for _ in range(2)] == [False, True]


@pytest.mark.parametrize("options", [{"modell": "x"}, {"model": "x"}, {"model": SUBJECTS[0]}])
def test_wrong_options_are_refused(options):
    core = make_core(1, [landscape_subject(layers=2, heads=2)])
    with pytest.raises((SettingsError, KeyError)):
        core.reset(options=options)


@pytest.mark.parametrize("arguments", [{"num_envs": 0}, {"max_episode_steps": 0}])
def test_sizes_are_checked(arguments):
    with pytest.raises(SettingsError):
        BatchCore(
            Pool(SUBJECTS),
            EpisodeSettings(),
            make_reward("sparsity"),
            make_observation("mask"),
            **arguments,
        )
