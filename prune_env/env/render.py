"""Pictures of an episode: a head grid for the terminal, and one for videos."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.env.episode import Episode
from prune_env.errors import SettingsError
from prune_env.models.units import Kind
from prune_env.utils.counts import count_of

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

MODES = ("ansi", "rgb_array")
OTHERS: dict[Kind, tuple[str, str]] = {"neurons": ("group", "neurons"), "map": ("step", "maps")}
"""What is counted of each kind of units but heads, and of what."""
SIZE = 480
NAME_LENGTH = 34
TICK_SPACE = 64
NUMBER_WIDTH, NUMBER_HEIGHT = 24, 12
FRAMED = 5
"""Pixels of a cell that has a frame."""
EQUAL = 0.5
"""Shade of the heads where no metric tells them apart."""

PAPER: Colour = (255, 255, 255)
INK: Colour = (33, 37, 41)
FAINT: Colour = (134, 142, 150)
PALE: Colour = (208, 226, 245)
DEEP: Colour = (8, 64, 129)
GONE: Colour = (233, 236, 239)
OPEN: Colour = (255, 169, 77)
GOOD: Colour = (47, 158, 68)
BAD: Colour = (224, 49, 49)


def check_mode(mode: str | None) -> None:
    """Raise if an environment cannot draw itself in a mode; None draws nothing.

    Raises:
        SettingsError: The mode is unknown.
    """
    if mode is not None and mode not in MODES:
        raise SettingsError(
            "Unknown render mode", expected=f"None or one of {', '.join(MODES)}", actual=mode
        )


def draw(episode: Episode, metrics: Sequence[str], mode: str) -> Any:
    """Draw an episode.

    Args:
        episode: What is drawn.
        metrics: Names of the importance metrics; the first one shades the kept heads, which look
            the same where there is none.
        mode: `ansi` or `rgb_array`.

    Returns:
        Text, or uint8 (480, 480, 3).
    """
    return draw_text(episode) if mode == "ansi" else draw_image(episode, next(iter(metrics), None))


def draw_text(episode: Episode) -> str:
    """Return one line per layer: `■` kept (deeper = more important), `x` unchecked, `·` pruned."""
    shades = _shades(episode)
    lines = [_summary(episode), _verdict(episode)]
    for layer, row in enumerate(episode.trial):
        cells = []
        for head, kept in enumerate(row):
            if not episode.board.available[layer, head]:
                cells.append(" ")
            elif kept:
                cells.append(_paint("■", _mix(shades[layer, head])))
            elif episode.mask[layer, head]:
                cells.append(_paint("x", OPEN))
            else:
                cells.append(_paint("·", FAINT))
        lines.append(f"{layer:>3}  " + " ".join(cells))
    return "\n".join(lines) + "\n"


def draw_image(episode: Episode, metric: str | None) -> Image:
    """Return a square picture: the accuracy against tau on top, the heads below, a legend."""
    from PIL import Image as Pillow  # noqa: PLC0415 - only those who draw need it
    from PIL import ImageDraw, ImageFont  # noqa: PLC0415

    picture = Pillow.new("RGB", (SIZE, SIZE), PAPER)
    pen = ImageDraw.Draw(picture)
    fonts = {size: ImageFont.load_default(size) for size in (11, 13, 16)}
    pen.text((16, 10), _summary(episode), INK, fonts[16])
    _draw_accuracy(pen, fonts, episode)
    _draw_heads(pen, fonts, episode)
    _draw_legend(pen, fonts, metric)
    return np.asarray(picture).copy()


def _draw_accuracy(pen: Any, fonts: dict[int, Any], episode: Episode) -> None:
    tau, accuracy = episode.tau, episode.accuracy
    left, right, top, bottom = 16, SIZE - 16, 58, 72
    least = max(0.0, np.floor(20 * min(tau, episode.base_accuracy) - 1) / 20)

    def place(value: float) -> float:
        return left + (right - left) * (value - least) / (1 - least) if least < 1 else right

    colour = GOOD if accuracy >= tau else BAD
    pen.text((left, 34), _verdict(episode), colour, fonts[16])
    name = episode.board.subject.name
    name = name if len(name) <= NAME_LENGTH else f"...{name[-NAME_LENGTH:]}"
    pen.text((right, 37), name, FAINT, fonts[11], anchor="ra")
    pen.rectangle((left, top, right, bottom), GONE)
    pen.rectangle((left, top, place(accuracy), bottom), colour)
    pen.line((place(tau), top - 4, place(tau), bottom + 4), INK, 2)
    for value, anchor in ((least, "la"), (1.0, "ra")):
        if abs(place(value) - place(tau)) > TICK_SPACE:
            pen.text((place(value), bottom + 5), f"{value:.2f}", FAINT, fonts[11], anchor=anchor)
    middle = min(max(place(tau), left + 22), right - 22)
    pen.text((middle, bottom + 5), f"tau {tau:.2f}", INK, fonts[11], anchor="ma")


def _draw_heads(pen: Any, fonts: dict[int, Any], episode: Episode) -> None:
    layers, heads = episode.trial.shape
    left, right, top, bottom = 46, SIZE - 16, 128, SIZE - 46
    width, height = (right - left) / heads, (bottom - top) / layers
    shades = _shades(episode)
    last = episode.actions[-1] if episode.actions else episode.stop
    pen.text((16, top - 17), "layer", FAINT, fonts[11])
    for head in range(0, heads, _apart(width, NUMBER_WIDTH)):
        pen.text((left + (head + 0.5) * width, top - 17), str(head), FAINT, fonts[11], anchor="ma")
    for layer in range(layers):
        y = top + layer * height
        if layer % _apart(height, NUMBER_HEIGHT) == 0:
            pen.text((left - 8, y + height / 2), str(layer), FAINT, fonts[11], anchor="rm")
        for head in range(heads):
            if not episode.board.available[layer, head]:
                continue
            x = left + head * width
            # Cells of many heads or layers have no room for a frame.
            gap, below = int(width >= FRAMED), int(height >= FRAMED)
            corner = x + gap, y + below
            box = (
                *corner,
                max(corner[0], x + width - 1 - gap),
                max(corner[1], y + height - 1 - below),
            )
            if episode.trial[layer, head]:
                pen.rectangle(box, _mix(shades[layer, head]))
                continue
            checked = not episode.mask[layer, head]
            pen.rectangle(box, GONE if checked else OPEN)
            middle, centre, arm = x + width / 2, y + height / 2, min(width, height) / 5
            ink = FAINT if checked else PAPER
            for sign in (-1, 1):
                start = (middle - arm, centre - sign * arm)
                pen.line((*start, middle + arm, centre + sign * arm), ink, 2)
            if layer * heads + head == last:
                pen.rectangle(box, outline=INK, width=2)


def _apart(cell: float, number: float) -> int:
    """Return how many cells are between two numbers, so that they do not overlap: 1, 4, 8, ..."""
    return 1 if cell >= number else 4 * ceil(number / cell / 4)


def _draw_legend(pen: Any, fonts: dict[int, Any], metric: str | None) -> None:
    y = SIZE - 30
    if metric is None:
        pen.rectangle((16, y + 2, 28, y + 14), _mix(EQUAL))
        pen.text((34, y), "kept", INK, fonts[13])
    else:
        pen.text((16, y), "kept,", INK, fonts[13])
        pen.text((50, y), f"{metric}: low", FAINT, fonts[13])
        x = 58 + int(pen.textlength(f"{metric}: low", fonts[13]))
        for step in range(48):
            pen.rectangle((x + step, y + 2, x + step + 1, y + 14), _mix(step / 47))
        pen.text((x + 54, y), "high", FAINT, fonts[13])
    for x, colour, name in ((SIZE - 172, OPEN, "unchecked"), (SIZE - 76, GONE, "pruned")):
        pen.rectangle((x, y + 2, x + 12, y + 14), colour)
        pen.text((x + 18, y), name, INK, fonts[13])


def _summary(episode: Episode) -> str:
    units = episode.board.subject.units
    pruned = f"{episode.pruned:,} of {count_of(episode.board.total, 'head')} pruned"
    if not units.heads_only:
        counts = episode.board.pruned(episode.mask)
        told = [count_of(counts["head"], "head")]
        told += [f"{count_of(counts[kind], noun)} of {of}" for kind, (noun, of) in OTHERS.items()]
        pruned = f"{', '.join(told)} pruned"
    scored = f"{count_of(episode.evaluations, 'mask')} scored"
    end = f", ended: {episode.ended}" if episode.ended else ""
    return f"{pruned}, {scored}{end}"


def _verdict(episode: Episode) -> str:
    sign = ">=" if episode.accuracy >= episode.tau else "<"
    return f"accuracy {episode.accuracy:.3f} {sign} tau {episode.tau:.3f}"


def _shades(episode: Episode) -> npt.NDArray[np.float64]:
    """Return each head's rank by the first importance metric, (L, H), 0 = least, 1 = most.

    Without a metric all heads are shaded equally, `EQUAL`.
    """
    exists = episode.board.available
    if not episode.board.importance.shape[2]:
        return np.full(exists.shape, EQUAL)
    values = episode.board.importance[..., 0][exists]
    shades = np.zeros(exists.shape)
    shades[exists] = np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)
    return shades


def _mix(share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * float(share)) for a, b in zip(PALE, DEEP, strict=True))
    return red, green, blue


def _paint(text: str, colour: Colour) -> str:
    return f"\x1b[38;2;{colour[0]};{colour[1]};{colour[2]}m{text}\x1b[0m"
