"""Hybrid pruning: heads, groups of neurons and strengths of maps in one game."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from prune_env import read_states, validate, write_states
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.hybrid import with_units
from prune_env.env.landscape import landscape_subject
from prune_env.env.rewards.inverted_trigger import InvertedTrigger
from prune_env.env.subject import Subject
from prune_env.env.vector_env import HeadPruningVectorEnv
from prune_env.errors import SettingsError
from prune_env.evaluation import MaskEvaluator, ReferenceEvaluator
from prune_env.evaluation.guard import guard_of
from prune_env.evaluation.suspect import Suspect
from prune_env.importance.registry import DEFAULT_METRICS, UNIT_METRICS
from prune_env.models import LoadedModel, load_classifier, unit_map
from prune_env.settings import UnitSettings
from tests.env.support import random_legal
from tests.support import tiny_dataset, write_tiny_folder

HYBRID = {"neuron_groups": 3, "map_steps": 2, "metrics": UNIT_METRICS}
WIDTH = 4 + 3 + 4 * 2


def subject_of(loaded: LoadedModel) -> Subject:
    train, validation = tiny_dataset(60, 1), tiny_dataset(48)
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, validation, precision="fp32")
    suspect = Suspect(loaded, train, validation, evaluator)
    return Subject(evaluator, np.zeros((*evaluator.shape, 0)), (), suspect=suspect)


@pytest.fixture(scope="module")
def subject(tiny_folder: Path) -> Subject:
    return subject_of(load_classifier(tiny_folder))


def env_of(subject: Subject, **arguments: object) -> HeadPruningEnv:
    return HeadPruningEnv(subject, **{"tau": 0.2, **HYBRID, **arguments})  # type: ignore[arg-type]


def test_both_checkers_are_silent(subject: Subject) -> None:
    env = env_of(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(render|spec).*")
        check_env(env, skip_render_check=True)
        check_env_for_sb3(env_of(subject, flat=True), skip_render_check=True)


def test_heads_alone_are_head_pruning_to_the_digit(subject: Subject) -> None:
    """The same evaluator, told that its units are heads, step by step."""
    units = with_units(subject, DEFAULT_METRICS, UnitSettings(groups=0, steps=0))
    assert units.suspect is not None
    assert units.suspect.unit_map is not None
    plain = replace(units, evaluator=subject.evaluator, suspect=subject.suspect)
    random = np.random.default_rng(0)
    envs = [HeadPruningEnv(each, tau=0.3, metrics=DEFAULT_METRICS) for each in (units, plain)]
    first, second = (env.reset(seed=0) for env in envs)
    done = False
    while not done:
        assert set(first[0]) == set(second[0])
        assert all((first[0][part] == second[0][part]).all() for part in first[0])
        told, other = (dict(each[-1]) for each in (first, second))
        for key in ("action_mask", "mask"):
            assert (told.pop(key) == other.pop(key)).all()
        assert told == other
        action = random_legal(told | {"action_mask": first[-1]["action_mask"]}, random)
        first, second = (env.step(action) for env in envs)
        assert first[1:4] == second[1:4]
        done = first[2]


def test_accuracy_is_the_references(subject: Subject) -> None:
    env = env_of(subject)
    _, info = env.reset(seed=0)
    suspect = env.subject.require_suspect()
    reference = ReferenceEvaluator(
        suspect.loaded.model,
        suspect.loaded.tokenizer,
        suspect.validation,
        unit_map=suspect.unit_map,
    )
    random = np.random.default_rng(1)
    for _ in range(12):
        _, _, ended, _, info = env.step(random_legal(info, random, stop=False))
        assert info["accuracy"] == reference.accuracy(info["mask"][None])[0]
        if ended:
            break
    assert sum(info["units_pruned"].values()) == (~info["mask"]).sum()
    assert info["heads_pruned"] == info["units_pruned"]["head"]


def test_steps_of_a_map_go_in_order(subject: Subject) -> None:
    env = env_of(subject, tau=0.0)
    _, info = env.reset(seed=0)
    first, second = 4 + 3, 4 + 3 + 1
    assert info["action_mask"][first]
    assert not info["action_mask"][second]
    assert env.step(second)[4]["illegal"] == "an earlier step of the map comes first"
    _, _, _, _, info = env.step(first)
    assert info["illegal"] == ""
    assert info["units_pruned"] == {"head": 0, "neurons": 0, "map": 1}
    assert info["action_mask"][second]


def test_the_least_number_counts_heads_alone(subject: Subject) -> None:
    env = env_of(subject, tau=0.0, min_heads_per_layer=1)
    env.reset(seed=0)
    for head in range(3):
        _, _, _, _, info = env.step(head)
    assert not info["action_mask"][3]  # the last head of the first layer
    assert env.step(3)[4]["illegal"] == "the layer keeps no more heads than it must"
    for group in range(4, 7):  # all its neurons may go
        assert env.step(group)[4]["illegal"] == ""


def test_a_whole_episode_prunes_every_unit_but_the_last_heads(subject: Subject) -> None:
    env = env_of(subject, tau=0.0)
    _, info = env.reset(seed=0)
    steps = 0
    while info["action_mask"][:-1].any():
        _, _, _, _, info = env.step(int(info["action_mask"].argmax()))
        steps += 1
    assert steps == 2 * WIDTH - 2
    assert env.render() is None


def test_units_tell_their_kind(subject: Subject) -> None:
    importance = with_units(subject, UNIT_METRICS, UnitSettings(3, 2)).importance
    shown = dict(zip(UNIT_METRICS, np.moveaxis(importance, -1, 0), strict=True))
    assert shown["is_neurons"][0].tolist() == [0] * 4 + [1] * 3 + [0] * 8
    assert shown["is_map"][1].tolist() == [0] * 7 + [1] * 8
    assert shown["step"][0, 7:].tolist() == [1, 2] * 4
    assert shown["depth"][:, 0].tolist() == [0, 1]
    for name in ("gate_gradient", "magnitude"):
        assert (shown[name] > 0).all()
    assert (shown["cls_variance"][:, 4:] == shown["cls_variance"][:, :4].max()).all()


def test_a_model_that_is_cut_is_not_cut_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent learns on the model that it is tested on, and both environments cut it."""
    cut = with_units(subject, UNIT_METRICS, UnitSettings(3, 2))
    measured: list[UnitSettings] = []
    measure = unit_map.measure_units
    monkeypatch.setattr(
        unit_map,
        "measure_units",
        lambda *each, **more: (measured.append(each[2]), measure(*each, **more))[1],
    )
    env = HeadPruningEnv(cut, neuron_groups=3, map_steps=2, metrics=UNIT_METRICS)
    assert env.unwrapped.subject.suspect is cut.suspect
    assert not measured
    HeadPruningEnv(cut, neuron_groups=2, map_steps=2, metrics=UNIT_METRICS)
    assert measured == [UnitSettings(2, 2)]


def test_units_are_measured_on_the_draw_that_is_asked_for(subject: Subject) -> None:
    metrics, cut = ("gate_gradient",), UnitSettings(3, 2)
    first, other, fewer, again = (
        with_units(subject, metrics, cut, **draw).importance
        for draw in (
            {"sentences": 20},
            {"sentences": 20, "seed": 1},
            {"sentences": 10},
            {"sentences": 20},
        )
    )
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, fewer)
    np.testing.assert_array_equal(first, again)


def test_a_guard_stays_when_units_are_measured(subject: Subject) -> None:
    guarded = with_units(subject.under_guard("balanced"), (), UnitSettings(3, 2))
    assert guard_of(guarded.evaluator) == "balanced"


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_state_is_played_again(subject: Subject, tmp_path: Path, suffix: str) -> None:
    env = env_of(subject)
    _, info = env.reset(seed=0)
    random = np.random.default_rng(2)
    for _ in range(5):
        _, _, _, _, info = env.step(random_legal(info, random, stop=False))
    write_states(tmp_path / f"states.{suffix}", [env.state])
    (state,) = read_states(tmp_path / f"states.{suffix}")
    assert state == env.state
    assert env.validate(state).ok
    assert not validate(replace(state, accuracy=state.accuracy / 2), env).ok
    other = env_of(subject, neuron_groups=2)
    assert not other.validate(state).ok


def test_a_state_makes_its_environment_from_names(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "model")
    data = tmp_path / "clean.csv"
    rows = tiny_dataset(80)
    lines = [f"{text},{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    data.write_text("\n".join(["sentence,label", *lines]))
    env = gym.make(
        "prune_env/HybridPruning-v0",
        model=str(folder),
        data=str(data),
        tau=0.2,
        neuron_groups=2,
        map_steps=1,
    )
    env.reset(seed=0)
    env.step(4)
    inner = env.unwrapped
    assert isinstance(inner, HeadPruningEnv)
    assert inner.shape == (2, 4 + 2 + 4)
    assert inner.state.env_id == "prune_env/HybridPruning-v0"
    assert validate(inner.state).ok
    copied: Subject = pickle.loads(pickle.dumps(inner.subject))
    assert copied.evaluator.fingerprint == inner.evaluator.fingerprint


def test_many_episodes_are_each_what_one_is(subject: Subject) -> None:
    single = env_of(subject)
    many = HeadPruningVectorEnv(2, subject, tau=0.2, autoreset_mode="Disabled", **HYBRID)  # type: ignore[arg-type]
    many.reset(seed=0)
    _, info = single.reset(seed=0)
    random = np.random.default_rng(3)
    for _ in range(6):
        action = random_legal(info, random, stop=False)
        observation, reward, ended, _, info = single.step(action)
        seen, rewards, ends, _, infos = many.step(np.array([action, action]))
        assert all((seen[part][1] == observation[part]).all() for part in observation)
        assert (rewards == reward).all()
        assert (infos["mask"][1] == info["mask"]).all()
        if ended:
            break
    assert (ends == ended).all()


def test_models_of_two_sizes_share_a_pool(subject: Subject, tmp_path: Path) -> None:
    small = subject_of(load_classifier(write_tiny_folder(tmp_path, layers=1, heads=2)))
    env = env_of(subject, tau=0.0)
    pool = HeadPruningEnv(
        pool=[replace(each, name=name) for each, name in ((subject, "a"), (small, "b"))],
        tau=0.0,
        **HYBRID,  # type: ignore[arg-type]
    )
    assert pool.shape == env.shape
    _, info = pool.reset(options={"model": "b"})
    actions = 0
    while info["action_mask"][:-1].any():
        _, _, _, _, info = pool.step(int(info["action_mask"].argmax()))
        assert info["illegal"] == ""
        actions += 1
    assert actions == 1 + 3 + 8


@pytest.mark.parametrize("reward", ["inverted-trigger", "consistency", "accuracy + sparsity"])
def test_rewards_answer_under_the_hybrid_mask(subject: Subject, reward: str) -> None:
    env = env_of(subject, reward=reward)
    _, info = env.reset(seed=0)
    assert np.isfinite(env.total_reward)
    gained = 0.0
    for unit in (4, 7, 9, 11):  # none of them a head
        _, paid, _, _, info = env.step(unit)
        gained += float(paid)
    assert info["heads_pruned"] == 0
    if reward == "inverted-trigger":
        score = InvertedTrigger()
        masks = np.stack([env.available, env.mask])
        first, last = score.score(env.subject, masks, np.zeros(2))
        assert gained == pytest.approx(last - first)


def test_a_model_without_texts_has_heads_alone() -> None:
    with pytest.raises(SettingsError, match="holds no texts"):
        env_of(landscape_subject())


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"model": "landscape"}, r"model='landscape:groups=8,steps=4'"),
        ({"model": "landscape:groups=2", "neuron_groups": 4, "map_steps": 0}, "groups=4,steps=0'"),
        (
            {"model": "sst2-hiddenkiller-0", "neuron_groups": 4},
            "is played with the units that it was recorded with",
        ),
    ],
)
def test_what_cannot_be_cut_says_how_it_is_played(arguments: dict[str, Any], remedy: str) -> None:
    with pytest.raises(SettingsError, match=remedy):
        gym.make("prune_env/HybridPruning-v0", **arguments)


def test_units_of_any_kind_count_for_a_success() -> None:
    """As `sparsity` counts them: 12 of 48 units, none of them a head."""
    model = "landscape:layers=2,heads=4,groups=4,steps=4"
    env = gym.make("prune_env/HybridPruning-v0", model=model, neuron_groups=4, map_steps=4, tau=0.0)
    _, info = env.reset(seed=0)
    for _ in range(12):
        assert not info["is_success"]
        unit = int(np.flatnonzero(info["action_mask"][:-1])[-1])
        _, _, _, _, info = env.step(unit)
        assert info["heads_pruned"] == 0
    assert info["is_success"]


def test_heads_of_the_open_group_are_not_yet_pruned() -> None:
    model = "landscape:layers=2,heads=4,groups=4,steps=4"
    env = gym.make("prune_env/Landscape-v0", model=model, prune_step=3, tau=0.0)
    env.reset(seed=0)
    told = [env.step(unit)[4] for unit in (0, 4, 1)]
    assert [info["heads_pruned"] for info in told] == [0, 0, 2]
    assert [info["unchecked"] for info in told] == [1, 2, 0]


def test_the_picture_names_the_kinds(subject: Subject) -> None:
    env = env_of(subject, render_mode="ansi")
    env.reset(seed=0)
    env.step(4)
    assert "0 heads, 1 group of neurons, 0 steps of maps pruned" in env.render()
