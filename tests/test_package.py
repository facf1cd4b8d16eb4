"""The package's front door."""

import subprocess
import sys

import gymnasium as gym
import pytest

import prune_env
from prune_env.env.registration import ENVIRONMENTS


def test_every_public_name_is_there():
    assert set(prune_env.__all__) == {"__version__", *prune_env._HOMES}
    for name in prune_env.__all__:
        assert getattr(prune_env, name) is not None
    assert set(prune_env.__all__) <= set(dir(prune_env))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'HeadPruning'"):
        prune_env.HeadPruning  # noqa: B018


def test_importing_is_light():
    code = "import sys, prune_env; print({'torch', 'transformers', 'scipy'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "set()"


def test_the_module_may_be_named_in_the_id():
    code = "import gymnasium; print(gymnasium.make('prune_env:prune_env/Landscape-v0').spec.id)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "prune_env/Landscape-v0"


def test_every_id_is_registered_with_its_table_entry():
    for entry in ENVIRONMENTS:
        spec = gym.spec(entry.name)
        assert spec.kwargs == entry.load().kwargs
        assert spec.max_episode_steps == entry.load().max_episode_steps
        assert isinstance(spec.entry_point, str)
        assert isinstance(spec.vector_entry_point, str)
        assert spec.to_json()
