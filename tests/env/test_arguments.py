"""What an environment is given: each wrong argument is named, and none is ignored."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.env import factory
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.replay import validate
from prune_env.env.state import read_states, write_states
from prune_env.env.vector_env import HeadPruningVectorEnv
from prune_env.errors import SettingsError, UnknownNameError
from tests.env.support import PrescribedEvaluator, falls_by

SMALL = "landscape:layers=2,heads=3"


@pytest.mark.parametrize("kind", [HeadPruningEnv, HeadPruningVectorEnv])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tau", "0.8"),
        ("tau", True),
        ("max_drop", "0.1"),
        ("success_share", "0.2"),
        ("success_share", None),
        ("illegal_penalty", "1"),
        ("prune_step", "2"),
        ("prune_step", True),
        ("max_evaluations", 3.0),
        ("backtrack", "False"),
        ("end_on_illegal", "no"),
        ("flat", "no"),
        ("flat", 1),
        ("guard", 3),
        ("reward", None),
        ("reward", ["sparsity"]),
        ("observation", 3),
        ("metrics", [1]),
        ("metrics", None),
        ("data", 3),
        ("model", 5),
        ("neuron_groups", "2"),
        ("map_steps", 1.5),
    ],
)
def test_an_argument_of_another_type_is_named(kind, name, value):
    with pytest.raises(SettingsError, match=rf"^{name} is .*Expected: .*Actual: .*{value}"):
        kind(**{"model": SMALL, name: value})


def test_no_threshold_is_refused():
    with pytest.raises(SettingsError, match="max_drop"):
        HeadPruningEnv(SMALL, tau=None, max_drop=None)


@pytest.mark.parametrize("pool", [SMALL, 3, {SMALL: 1}, [SMALL, None], [None], [SMALL, 5]])
def test_a_pool_is_a_list_of_models(pool):
    with pytest.raises(SettingsError, match=r"^(pool|model) is of the wrong type.*Expected"):
        HeadPruningEnv(pool=pool)


@pytest.mark.parametrize("number", ["layers=2.5", "heads=true", 'seed="1"', "groups=1.0"])
def test_numbers_of_a_landscape_are_whole(number):
    with pytest.raises(SettingsError, match=rf"^{number.partition('=')[0]} .*whole number"):
        HeadPruningEnv(f"landscape:{number}")


def test_a_number_of_a_model_is_given_once():
    with pytest.raises(SettingsError, match=r"layers=3'.*Actual: layers is given twice"):
        HeadPruningEnv("landscape:layers=2, layers=3")


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_model_that_the_id_brings_is_told_to_be_left_out(make):
    with pytest.raises(SettingsError, match=r"Remedy: .*give model=None beside pool\."):
        make("prune_env/Landscape-v0", pool=[SMALL])
    make("prune_env/Landscape-v0", pool=[SMALL], model=None)


def test_numbers_of_numpy_become_pythons(tmp_path):
    arguments = {
        "tau": np.float32(0.75),
        "prune_step": np.int64(2),
        "backtrack": np.bool_(False),
        "neuron_groups": np.int64(0),
        "illegal_penalty": np.float64(0.5),
        "flat": np.bool_(False),
    }
    env = gym.make("prune_env/Landscape-v0", **arguments).unwrapped
    assert type(env.settings.tau) is float
    assert type(env.settings.prune_step) is int
    assert env.settings.backtrack is False
    env.reset(seed=0)
    env.step(3)
    write_states(tmp_path / "states.json", [env.state])
    (state,) = read_states(tmp_path / "states.json")
    assert state.env_id == "prune_env/Landscape-v0"
    assert validate(state).ok


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": SMALL},
        {"model": "tiny"},
        {"model": "tiny:seed=1"},
        {"model": "sst2-hiddenkiller-0"},
        {"model": "mine.npz"},
        {"model": landscape_subject()},
        {"pool": [SMALL, "tiny"]},
        {"evaluator": PrescribedEvaluator(falls_by(0.0)), "importance": np.zeros((2, 4, 1))},
    ],
    ids=" and ".join,
)
def test_data_beside_a_model_with_its_own_is_refused(arguments):
    with pytest.raises(SettingsError, match=r"comes with its own data.*'clean\.tsv'"):
        HeadPruningEnv(data="clean.tsv", **arguments)


def test_data_that_one_model_of_a_pool_reads_is_taken(monkeypatch):
    read = []

    def find(model, data, metrics, settings):
        read.append(data)
        return landscape_subject(metrics, layers=2, seed=len(read))

    monkeypatch.setattr(factory, "find_units", find)
    HeadPruningEnv(pool=[SMALL, "some/folder"], data="clean.tsv")
    assert read == ["clean.tsv"] * 2
    # As an agent learns, on models that were made of the data before.
    HeadPruningEnv(pool=[landscape_subject()], data="clean.tsv")


def test_importance_beside_a_model_is_refused():
    for model in ({"model": SMALL}, {"pool": [SMALL]}):
        with pytest.raises(SettingsError, match="importance alone"):
            HeadPruningEnv(**model, importance=np.zeros((2, 3, 4)))


def test_a_model_of_the_options_is_a_name_or_a_subject():
    env = HeadPruningEnv(SMALL)
    with pytest.raises(SettingsError, match=r"model is of the wrong type.*5.*`pool`"):
        env.reset(options={"model": 5})
    with pytest.raises(SettingsError, match="Unknown reset option 1, x"):
        env.reset(options={1: 2, "x": 3})


def test_options_are_a_mapping():
    for env in (HeadPruningEnv(SMALL), HeadPruningVectorEnv(2, SMALL)):
        for options in (5, 0, "model", [("model", SMALL)]):
            with pytest.raises(SettingsError, match="options is of the wrong type"):
                env.reset(options=options)


def test_a_model_is_in_a_pool_once():
    with pytest.raises(SettingsError, match="none of them twice"):
        HeadPruningEnv(pool=[SMALL, SMALL])


def test_a_landscape_has_no_metric_of_an_unknown_name():
    with pytest.raises(UnknownNameError, match="did you mean 'magnitude'"):
        HeadPruningEnv(SMALL, metrics="magnitud")
    HeadPruningEnv(SMALL, metrics="magnitude,dropout_mean")
