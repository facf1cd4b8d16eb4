"""Pictures, and Gymnasium's wrappers that take them."""

import os
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import HumanRendering, RecordVideo, RenderCollection

import prune_env  # noqa: F401 - registers the environments
from prune_env.env import render
from prune_env.env.head_pruning_env import HeadPruningEnv
from tests.env.support import PrescribedEvaluator, env_over, falls_by

CELL = {"rows": (128, 434), "columns": (46, 464)}


def cell_colour(picture, layer, head, shape):
    """Return the colour near the corner of a cell, where no cross is."""
    (top, bottom), (left, right) = CELL["rows"], CELL["columns"]
    y = top + (layer + 0.12) * (bottom - top) / shape[0]
    x = left + (head + 0.12) * (right - left) / shape[1]
    return tuple(int(value) for value in picture[int(y), int(x)])


def test_cells_show_what_became_of_heads():
    env = env_over(PrescribedEvaluator(falls_by(0.01)), prune_step=2, render_mode="rgb_array")
    env.reset()
    for action in (0, 1, 6):
        env.step(action)
    picture = env.render()
    assert picture.shape == (480, 480, 3)
    assert picture.dtype == np.uint8
    shape = (2, 4)
    assert cell_colour(picture, 0, 0, shape) == cell_colour(picture, 0, 1, shape) == render.GONE
    assert cell_colour(picture, 1, 2, shape) == render.OPEN
    importance = env.subject.importance[..., 0]
    most = np.unravel_index(importance.argmax(), shape)
    assert cell_colour(picture, *most, shape) == render.DEEP


def test_the_bar_turns_red_below_tau():
    for start, colour, other in ((1.0, render.GOOD, render.BAD), (0.7, render.BAD, render.GOOD)):
        env = env_over(PrescribedEvaluator(falls_by(0.0, start)), render_mode="rgb_array")
        env.reset()
        bar = {tuple(pixel) for pixel in env.render()[65].tolist()}
        assert colour in bar
        assert other not in bar


def test_pictures_are_the_callers_own():
    env = HeadPruningEnv("landscape", render_mode="rgb_array")
    env.reset()
    first = env.render()
    first[:] = 0
    assert env.render().any()


@pytest.mark.parametrize(
    "model", ["landscape:layers=1,heads=1", "landscape:layers=48,heads=25", "landscape:layers=40"]
)
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_any_shape_and_any_tau_is_drawn(model, tau):
    env = HeadPruningEnv(model, render_mode="rgb_array", tau=tau)
    env.reset()
    env.step(0)
    assert env.render().std() > 0


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_text_shows_the_grid():
    available = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    env = env_over(
        PrescribedEvaluator(lambda mask: 0.9, available=available),
        prune_step=2,
        render_mode="ansi",
    )
    env.reset()
    for action in (0, 4, 2):
        env.step(action)
    assert plain(env.render()).splitlines() == [
        "2 of 6 heads pruned, 1 mask scored",
        "accuracy 0.900 >= tau 0.850",
        "  0  · ■ x ■",
        "  1  · ■    ",
    ]


def test_without_a_mode_nothing_is_drawn():
    env = HeadPruningEnv("landscape")
    env.reset()
    assert env.render() is None


def test_a_video_is_recorded(tmp_path):
    model = "landscape:layers=2,heads=4"
    env = gym.make("prune_env/Landscape-v0", model=model, tau=0.0, render_mode="rgb_array")
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    for _ in range(2):
        env.reset()
        for action in (0, 5, 8):
            env.step(action)
    env.close()
    videos = sorted(tmp_path.glob("videos/*.mp4"))
    assert len(videos) == 2
    assert all(video.stat().st_size > 2000 for video in videos)


def test_frames_are_collected():
    env = RenderCollection(gym.make("prune_env/Landscape-v0", render_mode="rgb_array"))
    env.reset()
    env.step(0)
    assert len(env.render()) == 2


def test_a_window_is_shown(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    env = HumanRendering(gym.make("prune_env/Landscape-v0", render_mode="rgb_array"))
    env.reset()
    env.step(0)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, env.env.render())
    env.close()


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_without_a_metric_heads_are_shaded_equally(mode):
    env = HeadPruningEnv("landscape:layers=2,heads=4", metrics="", render_mode=mode)
    env.reset()
    picture = env.render()
    if mode == "ansi":
        assert len({line.split("■")[0].split()[-1] for line in picture.splitlines()[2:]}) == 1
    else:
        colours = {cell_colour(picture, *divmod(head, 4), (2, 4)) for head in range(8)}
        assert colours == {render._mix(render.EQUAL)}


@pytest.mark.parametrize("model", ["layers=2,heads=150", "layers=110,heads=2"])
def test_models_of_many_heads_or_layers_have_a_picture(model):
    env = HeadPruningEnv(f"landscape:{model},sentences=20", tau=0.0, render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step(0)
    assert (env.render() != before).any()


def test_of_many_heads_every_cell_is_filled_and_numbers_stand_apart():
    env = HeadPruningEnv("landscape:layers=110,heads=150,sentences=20", render_mode="rgb_array")
    env.reset()
    grid = env.render()[130:430, 50:460]
    assert (grid != np.array(render.PAPER)).any(axis=2).mean() > 0.99
    assert [render._apart(cell, 24) for cell in (30, 24, 10, 2.8)] == [1, 1, 4, 12]
