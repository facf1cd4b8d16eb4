"""Tables of names that import the packages which fill them."""

import logging
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from rich.console import Console

from prune_env.agents.train_settings import TrainSettings
from prune_env.cli.terminal import tell_error
from prune_env.env.policy import POLICIES, find_policy
from prune_env.env.rewards.reward import REWARDS, Sparsity, make_reward
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.utils.registry import Registry, fill_from

TABLE: Registry[str] = Registry("colour of a test")


def test_a_package_is_imported_at_a_miss_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_from(TABLE.kind, "colours_of_a_test")
    TABLE.register("red", "red:", help="known without the package")
    with pytest.raises(ModuleNotFoundError):
        TABLE.names()  # and it is tried again
    (tmp_path / "colours_of_a_test.py").write_text(
        "from tests.utils.test_registry import TABLE\n"
        "assert 'green' not in TABLE  # a package may ask while it is imported\n"
        "TABLE.register('blue', 'blue:', help='')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "red" in TABLE
    assert "colours_of_a_test" not in sys.modules
    assert "blue" in TABLE
    assert [entry.name for entry in TABLE] == TABLE.names() == ["blue", "red"]
    with pytest.raises(UnknownNameError, match="one of blue, red"):
        TABLE["bleu"]


@pytest.mark.parametrize(("name", "remedy"), [("a", " Remedy: did you mean 'ab'?"), ("x", "")])
def test_names_that_no_command_describes_are_not_said_to_be(name: str, remedy: str) -> None:
    error = UnknownNameError("model of the pool", name, ["ab"], described="")
    assert str(error) == f"Unknown model of the pool '{name}'. Expected: one of ab.{remedy}"


PLUGIN = """
from prune_env.env.rewards.reward import Sparsity

class Tripled(Sparsity):
    name = "tripled"
    def score(self, subject, masks, accuracy):
        return 3 * super().score(subject, masks, accuracy)

class Failing(Sparsity):
    name = "failing"
    def score(self, subject, masks, accuracy):
        return {}["deep"]

class Within:
    class Fixed:
        @classmethod
        def for_env(cls, env, *, seed=0):
            return cls()
"""
POINTS = """
[prune_env.policies]
theirs = plugin_of_a_test:Missing
within = plugin_of_a_test:Within.Fixed

[prune_env.rewards]
tripled = plugin_of_a_test:Tripled
failing = plugin_of_a_test:Failing
sparsity = plugin_of_a_test:Tripled
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution, as pip installs it, with a reward and a broken policy."""
    info = tmp_path / "plugin_of_a_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-a-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "plugin_of_a_test.py").write_text(PLUGIN)
    REWARDS.names(), POLICIES.names()  # filled before they are copied
    monkeypatch.syspath_prepend(str(tmp_path))
    for table, group in ((REWARDS, "rewards"), (POLICIES, "policies")):
        monkeypatch.setattr(table, "_group", group)
        monkeypatch.setattr(table, "_entries", dict(table._entries))


@pytest.mark.usefixtures("distribution")
def test_other_distributions_add_names_by_entry_points(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        env = gym.make("prune_env/Landscape-v0", reward="tripled")
    assert "The reward 'sparsity' of plugin-of-a-test is not used" in caplog.text
    env.reset(seed=0)
    assert env.step(0)[1] == pytest.approx(3 / 72)
    assert type(make_reward("sparsity").terms[0][1]) is Sparsity
    assert {entry.name: entry.help for entry in REWARDS}["tripled"] == "from plugin-of-a-test"


@pytest.mark.usefixtures("distribution")
def test_a_broken_entry_point_is_told_in_one_message() -> None:
    assert "theirs" in POLICIES.names()  # listing loads nothing
    with pytest.raises(SettingsError, match="'theirs' of the distribution plugin") as told:
        find_policy("theirs")
    assert "AttributeError" in str(told.value)
    POLICIES.register("theirs", "elsewhere:Policy", help="a name of one's own wins")
    assert POLICIES._entries["theirs"].target == "elsewhere:Policy"


@pytest.mark.usefixtures("distribution")
def test_an_entry_point_may_name_a_class_within_a_class() -> None:
    assert POLICIES["within"].__qualname__ == "Within.Fixed"


@pytest.mark.usefixtures("distribution")
def test_a_broken_entry_point_hides_no_other_mistake() -> None:
    """Which policies learn is told by loading each of them."""
    with pytest.raises(SettingsError, match=r"no learning algorithm 'pppo'.*did you mean 'ppo'"):
        TrainSettings(algorithm="pppo")


@pytest.mark.usefixtures("distribution")
def test_a_failure_in_code_of_others_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    env = gym.make("prune_env/Landscape-v0", reward="failing")
    try:
        env.reset(seed=0)
        env.step(0)
    except KeyError as error:
        tell_error(Console(), error)
    told = capsys.readouterr().out
    assert "Code of the distribution plugin-of-a-test (" in told
    assert "plugin_of_a_test.py, line 12) failed: KeyError: 'deep'" in told
