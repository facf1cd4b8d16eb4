"""Where an agent learns and is tested: which environments, sentences and thresholds."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from prune_env.agents.training import train
from prune_env.agents.training_envs import learning_env, make_env, pool_of
from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.subjects import load_subject
from prune_env.errors import (
    PruneEnvError,
    SettingsError,
    UnknownNameError,
)
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.importance import DEFAULT_METRICS
from tests.agents.support import SETTINGS
from tests.models.tiny import write_tiny, write_tiny_images


def test_it_may_learn_on_few_sentences_but_is_judged_on_all(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path
):
    data = tmp_path / "data.jsonl"
    write_jsonl(data, tiny_data)
    arguments = {"model": str(tiny_folder), "data": str(data), "tau": 0.0}
    settings = replace(
        SETTINGS,
        env="prune_env/HeadPruning-v0",
        env_arguments=arguments,
        validation_subset=16,
        test_every=2,
    )
    accuracies = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prune_env.agents.tensorboard.TensorBoard.__call__",
            lambda self, report: accuracies.add(report.info["accuracy"]),
        )
        result = train(settings, tmp_path / "run")
    assert all((16 * accuracy).is_integer() for accuracy in accuracies)
    played = result.best["models"][0]
    subject = load_subject(str(tiny_folder), str(data), DEFAULT_METRICS)
    mask = np.array(played["mask"], bool)
    assert played["accuracy"] == subject.evaluator.accuracy(mask[None])[0]
    assert result.report["learned_on"] == "a stratified subset of 16 validation sentences"
    assert result.report["judged_on"] == "all validation sentences"

    part = subject.on_part(16)
    assert np.array_equal(part.importance, subject.importance)
    assert part.evaluator.fingerprint != subject.evaluator.fingerprint
    assert part.evaluator is subject.on_part(16).evaluator  # the same sentences, found again
    with pytest.raises(SettingsError, match="1 to 63 of 64"):
        subject.on_part(64)
    with pytest.raises(SettingsError, match="holds no texts"):
        train(replace(SETTINGS, validation_subset=5), tmp_path / "other")


def test_a_model_of_images_is_judged_on_images(tmp_path: Path) -> None:
    images = write_tiny_images(tmp_path / "images")
    arguments = {
        "model": str(write_tiny("vit", tmp_path / "vit")),
        "data": {"name": str(images), "image_column": "image"},
        "tau": 0.0,
    }
    settings = replace(SETTINGS, env="prune_env/HeadPruning-v0", env_arguments=arguments)
    report = train(replace(settings, total_steps=24, validation_subset=4), tmp_path / "run").report
    assert report["learned_on"] == "a stratified subset of 4 validation images"
    assert report["judged_on"] == "all validation images"


def test_an_unknown_environment_is_named(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"did you mean 'prune_env/Tiny-v0'"):
        train(replace(SETTINGS, env="prune_env/Tini-v0"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("env", ["no_such_module:X-v0", "not an id", "a:b:c", ""])
def test_an_id_that_gymnasium_cannot_make_is_one_message(env: str, tmp_path: Path):
    with pytest.raises(PruneEnvError, match="prune_env/Tiny-v0"):
        train(replace(SETTINGS, env=env), tmp_path / "run")


@pytest.mark.filterwarnings("ignore:.*latest versioned")
@pytest.mark.parametrize("env", ["CartPole-v1", "CartPole", "gymnasium:CartPole-v1"])
def test_arguments_for_anothers_environment_are_one_message(env: str):
    with pytest.raises(SettingsError, match="not an environment of this package"):
        make_env(env, {"model": "tiny"})


def test_arguments_that_an_environment_does_not_take_are_named():
    with pytest.raises(
        SettingsError, match=r"takes no such arguments: lager, id\. Expected: .*tau"
    ):
        make_env("prune_env/Landscape-v0", {"tau": 0.8, "lager": 1, "id": 2})
    env = make_env("prune_env/Landscape-v0", {"tau": 0.8, "max_episode_steps": 7})
    assert env.spec.max_episode_steps == 7


def test_a_fault_of_an_environment_is_not_called_a_wrong_argument(monkeypatch):
    class Broken(HeadPruningEnv):
        def __init__(self, model: str, **more) -> None:
            raise TypeError("a fault of its own")

    monkeypatch.setitem(gym.registry, "Broken-v0", EnvSpec("Broken-v0", entry_point=Broken))
    with pytest.raises(TypeError, match="a fault of its own"):
        make_env("Broken-v0", {"model": "tiny", "lager": 1})


def test_a_model_below_tau_is_told_before_it_learns_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    low, high = (f"landscape:layers=2,heads=4,seed={seed}" for seed in (0, 1))
    accuracies = [
        landscape_subject(layers=2, heads=4, seed=seed).evaluator.accuracy(np.ones((1, 2, 4), bool))
        for seed in (0, 1)
    ]
    tau = float(np.mean(accuracies))
    if accuracies[0] > accuracies[1]:
        low, high = high, low
    with pytest.raises(SettingsError, match=rf"below tau.*\({low}\)\. Remedy: give --max-drop"):
        train(replace(SETTINGS, env_arguments={"model": low, "tau": tau}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    arguments = {"model": None, "pool": [low, high], "tau": tau}
    train(replace(SETTINGS, env_arguments=arguments), tmp_path / "run")
    assert f"({low})" in caplog.text
    assert f"({high})" not in caplog.text


@pytest.mark.parametrize("part", [None, 16])
def test_masks_of_units_are_counted_as_those_of_heads(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path, part: int | None
):
    data = tmp_path / "data.jsonl"
    write_jsonl(data, tiny_data)
    settings = replace(
        SETTINGS,
        env="prune_env/HybridPruning-v0",
        env_arguments={"model": str(tiny_folder), "data": str(data), "tau": 0.0},
        validation_subset=part,
    )
    tests = make_env(settings.env, settings.env_arguments)
    (board,) = pool_of(learning_env(settings, tests)).boards
    counting = board.subject.evaluator
    assert isinstance(counting, CountingEvaluator)
    assert not board.subject.units.heads_only
    before = counting.evaluations
    for _ in range(2):
        counting.accuracy(counting.available[None])
    assert counting.evaluations == max(before, 1)
