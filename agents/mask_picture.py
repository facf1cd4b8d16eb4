"""A mask as a picture: heads by layer, with axes and a key."""

from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import BoolArray

CELL, LINE = 20, 2
LEFT, TOP, BELOW, RIGHT = 44, 34, 24, 6
LEAST_WIDTH = 168
TEXT, SMALL = 12, 11
KEPT, PRUNED, PAPER, INK = (38, 84, 124), (236, 233, 226), (255, 255, 255), (33, 37, 41)


def mask_picture(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """Return one square per head, a row per layer, layer 0 on top, with axes and a key.

    Args:
        mask: Bool (L, H), True = kept.

    Returns:
        uint8 (height, width, 3).
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - only those who draw need it

    layers, heads = mask.shape
    width = max(LEFT + heads * CELL + RIGHT, LEAST_WIDTH)
    picture = Image.new("RGB", (width, TOP + layers * CELL + BELOW), PAPER)
    pen = ImageDraw.Draw(picture)
    fonts = {size: ImageFont.load_default(size) for size in (TEXT, SMALL)}
    for layer, head in np.ndindex(mask.shape):
        x, y = corner(layer, head)
        colour = KEPT if mask[layer, head] else PRUNED
        pen.rectangle((x, y, x + CELL - LINE - 1, y + CELL - LINE - 1), colour)
    for layer in range(layers):
        middle = TOP + layer * CELL + CELL // 2 - 1
        pen.text((LEFT - 6, middle), str(layer), INK, fonts[SMALL], anchor="rm")
    for head in range(0, heads, 1 if heads <= 12 else 4):
        centre = LEFT + head * CELL + CELL // 2 - 1
        pen.text((centre, TOP - 4), str(head), INK, fonts[SMALL], anchor="ms")
    pen.text((LEFT - 6, TOP - 4), "layer", INK, fonts[SMALL], anchor="rs")
    pen.text((LEFT, TOP - 19), "head", INK, fonts[SMALL], anchor="ls")
    _draw_key(pen, fonts[TEXT], TOP + layers * CELL + 5)
    return np.asarray(picture).copy()


def corner(layer: int, head: int) -> tuple[int, int]:
    """Return x and y of the upper left corner of a head's square, in pixels."""
    return LEFT + head * CELL, TOP + layer * CELL


def _draw_key(pen: Any, font: Any, y: int) -> None:
    x = LEFT
    for colour, name in ((KEPT, "kept"), (PRUNED, "pruned")):
        pen.rectangle((x, y, x + 12, y + 12), colour)
        pen.text((x + 18, y + 6), name, INK, font, anchor="lm")
        x += 24 + int(pen.textlength(name, font)) + 10
