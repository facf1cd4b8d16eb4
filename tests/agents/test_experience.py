"""Sample averages of what followed when a head was pruned."""

import pytest

from prune_env.agents.experience import BROKE_TAU, Experience
from tests.agents.observations import random_observation


def _before(accuracy: float = 0.9, margin: float = 0.05):
    observation = random_observation(1, layers=2, heads=3)
    observation["status"][0, :2] = accuracy, margin
    return observation


def _info(accuracy: float, unchecked: int = 0, ended: str = ""):
    return {"accuracy": accuracy, "unchecked": unchecked, "ended": ended}


def test_a_model_never_played_has_no_experience():
    experience = Experience()
    experience.add(_before(), 1, 0.1, _info(0.89))
    other = random_observation(1, layers=2, heads=3, seed=9)
    assert not experience.features(other["importance"]).any()


def test_averages_shrink_towards_zero():
    experience, before = Experience(), _before()
    experience.add(before, 1, 0.1, _info(0.88))
    experience.add(before, 1, 0.3, _info(0.90))
    row = experience.features(before["importance"])[0, 1]
    assert row == pytest.approx([2 / 3, 6 * 0.4 / 3, 100 * -0.02 / 3], abs=1e-4)


def test_a_group_shares_what_it_led_to():
    experience, before = Experience(), _before()
    experience.add(before, 0, 0.0, _info(0.9, unchecked=1))
    assert not experience.features(before["importance"]).any()
    experience.add(before, 4, 0.2, _info(0.86))
    first, second = experience.features(before["importance"])[0, [0, 4]]
    assert first == pytest.approx(second)
    assert first[2] == pytest.approx(100 * -0.02 / 2, abs=1e-4)


def test_breaking_tau_counts_as_falling_below_it():
    experience, before = Experience(), _before(margin=0.05)
    experience.add(before, 2, 0.0, _info(0.9, ended="tau"))
    change = experience.features(before["importance"])[0, 2, 2]
    assert change == pytest.approx(100 * -(0.05 + BROKE_TAU) / 2, abs=1e-4)


def test_stop_alone_teaches_nothing():
    experience, before = Experience(), _before()
    experience.add(before, 6, 0.0, _info(0.9, ended="stop"))
    assert not experience.state()
