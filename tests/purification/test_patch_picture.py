"""The picture of inverted patches."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from prune_env.inversion.frames import Frame
from prune_env.inversion.patches import Patches
from prune_env.inversion.search import Inversion
from prune_env.purification.patch_picture import PICTURE, SPACE, TILE, _short, draw_patches
from prune_env.purification.step import StepReport


def test_patches_are_drawn_on_grey_the_smallest_first(tmp_path: Path) -> None:
    opacity = torch.ones(3, 1, 2, 2)
    opacity[1, 0, 0], opacity[2, 0, 0, 0] = 0, 0  # covered: all, a half, three quarters
    colours = torch.zeros(3, 3, 2, 2)
    colours[1, 1] = 1.0  # green
    found = Patches(opacity, colours, torch.zeros(3), torch.ones(3), (0.5, 0.9, 0.8))
    draw_patches((StepReport(), StepReport((), found, found)), ("a", "b", "c"), tmp_path)
    pixels = np.asarray(Image.open(tmp_path / PICTURE))
    assert pixels.shape[1] == SPACE + 3 * (TILE + SPACE)

    def at(place: int, x: float, y: float) -> tuple[int, ...]:
        left = SPACE + place * (TILE + SPACE)
        return tuple(pixels[SPACE + round(y * TILE), left + round(x * TILE)].tolist())

    assert at(0, 0.2, 0.2) == (128, 128, 128)  # of the second class, the upper half
    assert at(0, 0.8, 0.8) == (0, 255, 0)
    assert at(1, 0.2, 0.2) == (128, 128, 128)
    assert at(1, 0.8, 0.2) == at(2, 0.2, 0.2) == (0, 0, 0)


def test_nothing_is_drawn_of_phrases_or_of_a_healing_that_inverts_none(tmp_path: Path) -> None:
    phrases = Inversion(((Frame("of"),), ()), (0.5, 0.0))
    draw_patches((StepReport(), StepReport((), phrases, phrases)), ("a", "b"), tmp_path)
    draw_patches((), ("a", "b"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_fit_under_their_patch() -> None:
    assert _short("dog", 3, len) == "dog"
    assert _short("a name\nof two lines", 3, len) == "a name of two lines"
    assert _short("日本", 3, len) == "class 3"  # the font has no such letters
    long = _short("x" * 500, 3, len)
    assert long.startswith("xxx")
    assert long.endswith("x...")
    assert len(long) <= TILE
