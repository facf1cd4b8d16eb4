"""The window of `human`, drawn with a stand-in for pygame where there is none."""

import copy
import pickle
import sys
import types

import gymnasium as gym
import numpy as np
import pytest

from prune_env.env.window import Window


@pytest.fixture
def shown(monkeypatch):
    """Return what reaches a stand-in for pygame."""
    seen = types.SimpleNamespace(pictures=[], sizes=[], paces=[], closed=0)
    screen = types.SimpleNamespace(blit=lambda surface, place: seen.pictures.append(surface))
    clock = types.SimpleNamespace(tick=seen.paces.append)

    def set_mode(size):
        seen.sizes.append(size)
        return screen

    def close():
        seen.closed += 1

    pygame = types.SimpleNamespace(
        init=_nothing,
        display=types.SimpleNamespace(set_mode=set_mode, flip=_nothing, quit=close),
        time=types.SimpleNamespace(Clock=lambda: clock),
        surfarray=types.SimpleNamespace(make_surface=lambda array: array.swapaxes(0, 1)),
        event=types.SimpleNamespace(pump=_nothing),
    )
    monkeypatch.setitem(sys.modules, "pygame", pygame)
    return seen


def test_every_step_is_shown(shown):
    env = gym.make("prune_env/Landscape-v0", render_mode="human")
    drawn = gym.make("prune_env/Landscape-v0", render_mode="rgb_array")
    for each in (env, drawn):
        each.reset(seed=0)
        each.step(3)
    assert len(shown.pictures) == 2
    np.testing.assert_array_equal(shown.pictures[-1], drawn.render())
    assert env.render() is None
    env.close()
    assert shown.closed == 1


def test_one_window_of_the_size_of_its_pictures_shows_them_at_its_pace(shown):
    window = Window(4)
    for _ in range(3):
        window.show(np.zeros((4, 6, 3), np.uint8))
    assert shown.sizes == [(6, 4)]  # width and height, as screens have them
    assert shown.paces == [4, 4, 4]


def test_it_closes_once_and_opens_again(shown):
    window = Window(4)
    window.close()
    assert shown.closed == 0  # it never opened
    window.show(np.zeros((4, 6, 3), np.uint8))
    window.close()
    window.close()
    assert shown.closed == 1
    window.show(np.zeros((4, 6, 3), np.uint8))
    assert len(shown.sizes) == 2


def test_a_copy_has_a_window_of_its_own(shown):
    window = Window(4)
    window.show(np.zeros((4, 6, 3), np.uint8))
    for other in (copy.deepcopy(window), pickle.loads(pickle.dumps(window))):
        other.close()
        assert shown.closed == 0
        other.show(np.zeros((2, 2, 3), np.uint8))
    assert shown.sizes == [(6, 4), (2, 2), (2, 2)]
    assert shown.paces == [4, 4, 4]
    window.close()
    assert shown.closed == 1


def _nothing(*_):
    """Stand in for what is not looked at."""
