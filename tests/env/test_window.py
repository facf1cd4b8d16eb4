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
    """Return the pictures that reach the screen of a stand-in for pygame."""
    pictures, nothing = [], lambda *arguments: None
    screen = types.SimpleNamespace(blit=lambda surface, place: pictures.append(surface))
    clock = types.SimpleNamespace(tick=nothing)
    pygame = types.SimpleNamespace(
        init=nothing,
        display=types.SimpleNamespace(set_mode=lambda size: screen, flip=nothing, quit=nothing),
        time=types.SimpleNamespace(Clock=lambda: clock),
        surfarray=types.SimpleNamespace(make_surface=lambda array: array.swapaxes(0, 1)),
        event=types.SimpleNamespace(pump=nothing),
    )
    monkeypatch.setitem(sys.modules, "pygame", pygame)
    return pictures


def test_every_step_is_shown(shown):
    env = gym.make("prune_env/Landscape-v0", render_mode="human")
    drawn = gym.make("prune_env/Landscape-v0", render_mode="rgb_array")
    for each in (env, drawn):
        each.reset(seed=0)
        each.step(3)
    assert len(shown) == 2
    np.testing.assert_array_equal(shown[-1], drawn.render())
    assert env.render() is None
    env.close()


def test_a_copy_has_a_window_of_its_own(shown):
    window = Window(4)
    window.show(np.zeros((4, 6, 3), np.uint8))
    for other in (copy.deepcopy(window), pickle.loads(pickle.dumps(window))):
        assert other is not window
        other.close()  # it never opened
    window.close()
