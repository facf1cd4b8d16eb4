"""Episodes go as they went, to the digit."""

from pathlib import Path
from typing import Any

import pytest

from tests.goldens import play
from tests.goldens.files import differences, inside, plain, read
from tests.goldens.runs import prepare

TEXTS: dict[str, Any] = read("texts")
LAST_DIGITS = 1e-6  # of floats that a transformer computes


@pytest.mark.parametrize("name", play.LANDSCAPES)
def test_an_episode_on_a_landscape(name: str) -> None:
    old = read("landscapes")[name]
    actions = [row[0] for row in old["steps"][1:]]
    new = play.episode(play.LANDSCAPES[name], actions)
    assert list(new["info"]) == list(old["info"])
    assert differences(old, plain(new)) == []


@pytest.mark.parametrize("name", play.VECTORS)
def test_several_episodes_together(name: str) -> None:
    assert differences(read("vectors")[name], plain(play.vector(play.VECTORS[name]))) == []


def test_the_adapter_for_stable_baselines3() -> None:
    assert differences(read("stable_baselines3"), plain(play.stable_baselines3())) == []


def test_an_environment_from_objects() -> None:
    assert differences(read("from_objects"), plain(play.from_objects())) == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("texts"))


@pytest.mark.parametrize("reward", TEXTS)
def test_an_episode_on_a_transformer(reward: str, prepared: Path) -> None:
    """A reward that has gone is taken out of `texts.json` and `list.json`."""
    with inside(prepared):
        played = plain(play.on_text(reward))
    assert differences(TEXTS[reward], played["steps"], LAST_DIGITS) == []
    new = played["first_observation"]
    assert differences(read("text_first_observation"), new, 20 * LAST_DIGITS) == []


def test_the_state_of_a_transformer(prepared: Path) -> None:
    """Its fingerprint is of weights, data and the name of the evaluator's class."""
    with inside(prepared):
        played = plain(play.on_text("sparsity"))
    assert differences(read("text_state"), played["state"], LAST_DIGITS) == []


def test_the_goldens_see_something() -> None:
    """The episodes end in every way, and the transformer's heads matter."""
    ends = set()
    for case in read("landscapes").values():
        at = list(case["info"]).index("ended") + 5
        ends |= {row[at] for row in case["steps"]}
    assert ends == {"", "stop", "tau", "budget"}
    assert len({row[1][0] for row in TEXTS["sparsity"]}) > 2
