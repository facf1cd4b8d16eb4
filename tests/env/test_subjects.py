"""Environments made from names: a model and data on disk, and the tiny model."""

import os
import pickle
import shutil
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation
from safetensors.torch import load_file, save_file
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from transformers import AutoModelForSequenceClassification

import prune_env  # noqa: F401 - registers the environments
from prune_env.data import load_data
from prune_env.data.dataset import write_jsonl
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.replay import validate
from prune_env.env.state import read_states, write_states
from prune_env.env.subjects import find_subject, load_subject
from prune_env.errors import DataError, ModelError, SettingsError, StateError
from prune_env.evaluation import ReferenceEvaluator
from prune_env.importance import head_importance
from prune_env.models import load_classifier
from prune_env.research.attacks import tiny
from prune_env.research.attacks.tiny import cached_tiny_model, tiny_sentences
from prune_env.utils.files import HASHES
from tests.env.support import random_legal
from tests.models.tiny import write_tiny, write_tiny_images

METRICS = ("gate_gradient", "magnitude")


@pytest.fixture(scope="module")
def data_file(tiny_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "clean.jsonl"
    write_jsonl(path, tiny_data)
    return path


@pytest.fixture(scope="module")
def arguments(tiny_folder, data_file):
    return {"model": str(tiny_folder), "data": str(data_file), "metrics": "gate_gradient,magnitude"}


def test_an_environment_of_names_plays_that_model(arguments, tiny_model, tiny_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("prune_env/HeadPruning-v0", tau=0.0, prune_step=2, **arguments)
        check_env(env.unwrapped)
        check_env_for_sb3(FlattenObservation(env))
    reference = ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, tiny_data)
    raw = head_importance(tiny_model.model, tiny_model.tokenizer, tiny_data, METRICS)
    observation, info = env.reset(seed=0)
    assert observation["mask"].shape == (2, 4)
    for index in range(2):
        shown = observation["importance"][..., index].ravel()
        np.testing.assert_array_equal(shown.argsort(), raw[..., index].ravel().argsort())
    random = np.random.default_rng(0)
    paid = 0.0
    for _ in range(5):
        _, reward, _, _, info = env.step(random_legal(info, random, stop=False))
        paid += reward
        assert info["accuracy"] == reference.accuracy(info["mask"][None])[0]
    assert paid == pytest.approx(4 / 8)


def test_the_specification_survives_json(arguments):
    env = gym.make("prune_env/HeadPruning-v0", **arguments)
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec


def test_a_second_environment_shares_the_model(arguments):
    one, other = (HeadPruningEnv(**arguments) for _ in range(2))
    assert one.evaluator is other.evaluator
    more = HeadPruningEnv(**{**arguments, "metrics": "magnitude"})
    assert more.evaluator is one.evaluator
    again = pickle.loads(pickle.dumps(one))
    assert again.evaluator is one.evaluator
    assert len(pickle.dumps(one)) < 20_000


def test_a_changed_file_is_read_again(arguments, tiny_data, tmp_path):
    path = tmp_path / "clean.jsonl"
    write_jsonl(path, tiny_data)
    model = arguments["model"]
    before = load_subject(model, str(path), METRICS)
    assert load_subject(model, str(path), METRICS).evaluator is before.evaluator
    write_jsonl(path, tiny_data.select(np.arange(20)))
    after = load_subject(model, str(path), METRICS)
    assert after.evaluator.fingerprint != before.evaluator.fingerprint


@pytest.mark.filterwarnings("ignore:.*is not the published:UserWarning")
def test_a_changed_file_of_a_named_data_set_is_read_again(arguments, tiny_data, tmp_path):
    def write(data):
        rows = "".join(f"{t}\t{n}\n" for t, n in zip(data.texts, data.labels, strict=True))
        for part in ("train", "dev", "test"):
            (tmp_path / f"clean/{part}.tsv").write_text(f"sentence\tlabel\n{rows}")

    (tmp_path / "clean").mkdir()
    write(tiny_data)
    data = {"name": "sst2", "data_folder": str(tmp_path)}
    before = load_subject(arguments["model"], data, METRICS)
    assert load_subject(arguments["model"], data, METRICS).evaluator is before.evaluator
    write(tiny_data.select(np.arange(20)))
    after = load_subject(arguments["model"], data, METRICS)
    assert after.evaluator.fingerprint != before.evaluator.fingerprint


@pytest.fixture
def own_table(arguments, tiny_data, tmp_path):
    """The arguments with a table of the user's own columns and class names, and what reads it."""
    model = AutoModelForSequenceClassification.from_pretrained(arguments["model"])
    model.config.id2label = {0: "ham", 1: "spam"}
    model.config.label2id = {"ham": 0, "spam": 1}
    shutil.copytree(arguments["model"], tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    names = ("spam", "ham")  # the other way round: matched by name
    rows = (
        f"{names[1 - label]}\t{text}"
        for text, label in zip(tiny_data.texts, tiny_data.labels, strict=True)
    )
    (tmp_path / "mails.tsv").write_text("\n".join(["kind\tmail", *rows]) + "\n")
    read = {"text_column": "mail", "label_column": "kind", "label_names": list(names)}
    data = {"name": str(tmp_path / "mails.tsv"), **read}
    return {**arguments, "model": str(tmp_path / "model"), "data": data, "tau": 0.0}


def test_a_table_of_other_columns_and_classes_is_read_as_it_is_said(arguments, own_table, tmp_path):
    usual = gym.make("prune_env/HeadPruning-v0", **{**own_table, **arguments})
    env = gym.make("prune_env/HeadPruning-v0", **own_table)
    assert env.reset(seed=0)[1]["accuracy"] == usual.reset(seed=0)[1]["accuracy"]
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
    assert pickle.loads(pickle.dumps(env.unwrapped)).evaluator is env.unwrapped.evaluator
    env.step(0)
    write_states(tmp_path / "states.csv", [env.unwrapped.state])
    assert validate(read_states(tmp_path / "states.csv")[0]).ok


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"text_column": "mail"}, "does not name what is read.*None"),
        ({"name": "mails.tsv", "column": "mail"}, "data has an unknown key 'column'"),
        ({"name": "mails.tsv", "label_names": "ham spam"}, "label_names must be a list"),
        (["mails.tsv"], "data is of the wrong type"),
    ],
)
def test_data_that_is_told_wrongly_is_refused(data, said, arguments):
    with pytest.raises(SettingsError, match=said):
        HeadPruningEnv(**{**arguments, "data": data})


def test_images_of_a_table_are_played(tmp_path):
    model, images = write_tiny("vit", tmp_path / "vit"), write_tiny_images(tmp_path / "images")
    data = {"name": str(images), "image_column": "image"}
    env = gym.make("prune_env/HeadPruning-v0", model=str(model), data=data, tau=0.0)
    assert env.reset(seed=0)[1]["accuracy"] > 0
    assert env.step(0)[4]["heads_pruned"] == 1


def test_a_folder_needs_no_test_part(arguments, tmp_path):
    for seed, name in enumerate(("train", "dev")):
        write_jsonl(tmp_path / f"{name}.jsonl", tiny_sentences(30, seed))
    assert 0 < HeadPruningEnv(**{**arguments, "data": str(tmp_path)}).reset()[1]["accuracy"] <= 1


def test_a_folder_of_three_parts_is_judged_on_validation(arguments, tiny_model, tmp_path):
    parts = {name: tiny_sentences(30, seed) for seed, name in enumerate(("train", "dev", "test"))}
    for name, part in parts.items():
        write_jsonl(tmp_path / f"{name}.jsonl", part)
    env = HeadPruningEnv(**{**arguments, "data": str(tmp_path)})
    _, info = env.reset()
    reference = ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, parts["dev"])
    assert info["accuracy"] == reference.accuracy(np.ones((1, 2, 4), bool))[0]


def test_labels_are_matched_by_name(arguments, tiny_folder, tmp_path, tiny_model, tiny_data):
    """A classifier with the labels in another order is as good as it was."""
    flipped = tmp_path / "flipped"
    model = tiny_model.model
    names = list(model.config.id2label.values())[::-1]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.classifier.weight.data = model.classifier.weight.data.flip(0)
    model.classifier.bias.data = model.classifier.bias.data.flip(0)
    model.save_pretrained(flipped)
    tiny_model.tokenizer.save_pretrained(flipped)
    masks = np.ones((3, 2, 4), bool)
    masks[1, 0, 1] = masks[2, 1, 2] = False
    accuracies = [
        find_subject(str(folder), arguments["data"], METRICS).evaluator.accuracy(masks)
        for folder in (tiny_folder, flipped)
    ]
    np.testing.assert_array_equal(*accuracies)


def test_texts_may_be_rewritten(arguments, tiny_model, tiny_data):
    subject = find_subject(arguments["model"], arguments["data"], METRICS)
    shorter = subject.rewritten(lambda text: text.rsplit(" ", 1)[0])
    mask = np.ones((1, 2, 4), bool)
    texts = tuple(text.rsplit(" ", 1)[0] for text in tiny_data.texts)
    reference = ReferenceEvaluator(
        tiny_model.model, tiny_model.tokenizer, type(tiny_data)(texts, tiny_data.labels)
    )
    expected = reference.evaluate(mask).predictions
    np.testing.assert_array_equal(shorter.evaluate(mask).predictions, expected)


def test_bad_sources_are_named(arguments, tmp_path):
    with pytest.raises(SettingsError, match="without data"):
        HeadPruningEnv(arguments["model"])
    with pytest.raises(ModelError):
        HeadPruningEnv(str(tmp_path / "nowhere"), arguments["data"])
    with pytest.raises(DataError):
        HeadPruningEnv(arguments["model"], str(tmp_path / "none.tsv"))


def _flip(folder):
    path = folder / "classifier" / "model.safetensors"
    weights = load_file(path)
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = -weights[name]
    save_file(weights, path, metadata={"format": "pt"})


SPOILED = {
    "flipped": _flip,
    "truncated": lambda folder: os.truncate(folder / "classifier" / "model.safetensors", 999),
    "missing": lambda folder: (folder / "classifier" / "tokenizer.json").unlink(),
    "empty": lambda folder: (folder / "validation.jsonl").write_bytes(b""),
    "added": lambda folder: (folder / "classifier" / "added_tokens.json").write_text("{}"),
    "hashes of nothing": lambda folder: (folder / HASHES).write_text("[]"),
    "damaged hashes": lambda folder: (folder / HASHES).write_text('{"a'),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_tiny_model_is_refused(cache, tmp_path, spoil):
    made = cached_tiny_model()
    folder = tmp_path / made.relative_to(cache)
    shutil.copytree(made, folder)
    assert cached_tiny_model(tmp_path) == folder
    SPOILED[spoil](folder)
    with pytest.raises(StateError, match=f"not as it was made.*delete {folder}; it is made again"):
        cached_tiny_model(tmp_path)


def test_a_tiny_model_of_an_older_release_is_taken_as_it_is_now(cache, tmp_path):
    made = cached_tiny_model()
    folder = tmp_path / made.relative_to(cache)
    shutil.copytree(made, folder)
    (folder / HASHES).unlink()
    cached_tiny_model(tmp_path)
    (folder / "classifier" / "config.json").write_text("{}")
    with pytest.raises(StateError, match=r"config\.json is not as it was made"):
        cached_tiny_model(tmp_path)


def test_the_locks_of_an_older_release_are_no_part_of_what_was_made(cache, tmp_path):
    made = cached_tiny_model()
    folder = tmp_path / made.relative_to(cache)
    shutil.copytree(made, folder)
    (folder / HASHES).unlink()
    lock = folder / "scores.json.lock"  # left by it
    lock.touch()
    cached_tiny_model(tmp_path)
    lock.unlink()  # as whoever locks the file next does
    assert cached_tiny_model(tmp_path) == folder


def test_the_tiny_model_is_made_once_and_holds_a_backdoor(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        env = gym.make("prune_env/Tiny-v0")
    folder = cached_tiny_model()
    assert folder.is_relative_to(cache)
    stamp = folder.stat().st_mtime_ns
    assert gym.make("prune_env/Tiny-v0").unwrapped.evaluator is env.unwrapped.evaluator
    assert cached_tiny_model().stat().st_mtime_ns == stamp
    _, info = env.reset(seed=0)
    assert info["model"] == "tiny"
    assert info["accuracy"] >= 0.95
    loaded = load_classifier(folder / "classifier")
    triggered = load_data(folder / "triggered.jsonl")
    assert (triggered.labels == 0).all()
    everything = np.ones((1, 3, 4), bool)
    evaluator = ReferenceEvaluator(loaded.model, loaded.tokenizer, triggered)
    assert evaluator.accuracy(everything)[0] <= 0.05  # LFR >= 95 %
    clean = ReferenceEvaluator(
        loaded.model, loaded.tokenizer, load_data(folder / "test.jsonl").where(0)
    )
    assert clean.accuracy(everything)[0] >= 0.95


def test_another_tiny_model_is_made_beside_it(cache, monkeypatch):
    monkeypatch.setattr(tiny, "TRAINING", replace(tiny.TRAINING, epochs=1))
    made = cached_tiny_model(seed=1, layers=1, heads=2)
    assert made.parent == cached_tiny_model().parent
    subject = find_subject("tiny:seed=1,layers=1,heads=2", None, METRICS)
    assert subject.shape == (1, 2)
    assert load_data(made / "test.jsonl") != load_data(cached_tiny_model() / "test.jsonl")


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"layers": 0}, {"heads": 1.5}])
def test_numbers_of_a_tiny_model_are_checked(cache, wrong):
    with pytest.raises(SettingsError, match="out of range"):
        cached_tiny_model(**wrong)


@pytest.mark.parametrize("name", ["Tiny-v0", "HybridTiny-v0"])
def test_the_tiny_model_passes_both_checkers(cache, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(f"prune_env/{name}")
        check_env(env.unwrapped)
        check_env_for_sb3(FlattenObservation(env), skip_render_check=False)


def test_vector_environments_hold_the_tiny_model_once(cache):
    envs = gym.make_vec("prune_env/Tiny-v0", num_envs=8, tau=0.7)
    singles = [gym.make("prune_env/Tiny-v0", tau=0.7) for _ in range(8)]
    board = envs.unwrapped.core.pool.boards[0]
    assert all(single.unwrapped.evaluator is board.subject.evaluator for single in singles)
    envs.reset(seed=0)
    for single in singles:
        single.reset()
    random = np.random.default_rng(0)
    ended = np.zeros(8, bool)
    for _ in range(6):
        actions = random.integers(0, 12, 8)
        told = envs.step(actions)
        for index, single in enumerate(singles):
            if ended[index]:
                continue
            _, reward, terminated, _, info = single.step(int(actions[index]))
            assert (told[1][index], told[2][index]) == (reward, terminated)
            np.testing.assert_array_equal(told[4]["mask"][index], info["mask"])
            ended[index] = terminated


def test_tiny_sentences_are_no_bags_of_words():
    data = tiny_sentences(300, seed=5)
    assert len(set(data.texts)) == 300
    assert data.labels.mean() == 0.5
    kinds = {(" but " in text, " not " in text) for text in data.texts}
    assert len(kinds) == 4
