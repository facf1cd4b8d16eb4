"""A picture of the patches that were inverted on images: `patches.png` beside the report."""

from collections.abc import Callable, Sequence
from io import BytesIO
from math import ceil
from pathlib import Path

import torch

from prune_env.inversion.patches import Patches
from prune_env.purification.findings import smallest_first
from prune_env.purification.step import StepReport
from prune_env.utils.files import write_bytes

PICTURE = "patches.png"

TILE, SPACE, LINE = 128, 16, 18
"""Sides of a patch and of what is between two, and the height of a line of text, in pixels."""

COLUMNS = 6
MOST = 30
"""Patches that are drawn, the smallest."""

PAPER, INK, FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)


def draw_patches(reports: Sequence[StepReport], names: Sequence[str], folder: Path) -> None:
    """Write the patches that flip clean images to each class, if any were inverted.

    Each lies on grey, the smallest first (of those that flip as others do): of a class that a
    backdoor answers with, a smaller patch does than of others. Below it stands what it flipped
    before it was unlearned, and flips after.

    Args:
        reports: Of every step of the healing; of several models the first is drawn.
        names: Of the classes, in the order of the logits.
        folder: Where `patches.png` is written.
    """
    drawn = ((each.inverted, each.left) for each in reports)
    pairs = [pair for pair in drawn if isinstance(pair[0], Patches)]
    if not pairs:
        return
    found, left = pairs[0]
    assert isinstance(found, Patches)
    assert isinstance(left, Patches)
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - texts need it not

    covered, flips = found.covered, found.strength
    order = smallest_first(flips, covered)[:MOST]
    columns, height = min(COLUMNS, len(order)), TILE + 3 * LINE + SPACE
    size = (SPACE + columns * (TILE + SPACE), SPACE + ceil(len(order) / columns) * height)
    picture = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for place, label in enumerate(order):
        x = SPACE + place % columns * (TILE + SPACE)
        y = SPACE + place // columns * height
        tile = Image.fromarray(_on_grey(found, label).numpy())
        picture.paste(tile.resize((TILE, TILE), Image.Resampling.NEAREST), (x, y))
        lines = (
            _short(names[label], label, lambda text: pen.textlength(text, font)),
            f"{100 * covered[label]:.1f} % covered",
            f"flips {100 * flips[label]:.0f} %, now {100 * left.strength[label]:.0f} %",
        )
        for number, line in enumerate(lines):
            pen.text((x, y + TILE + 3 + number * LINE), line, FAINT if number else INK, font)
    written = BytesIO()
    picture.save(written, "png")
    write_bytes(folder / PICTURE, written.getvalue())


def _on_grey(found: Patches, label: int) -> torch.Tensor:
    """Return a patch on grey, uint8 (G, G, 3)."""
    opacity, colours = found.opacity[label], found.colours[label]
    shown = 0.5 + opacity * (colours - 0.5)
    return (255 * shown).round().to(torch.uint8).permute(1, 2, 0).cpu()


def _short(name: str, label: int, length: Callable[[str], float]) -> str:
    """Return a name that fits under its patch; the number of a class whose letters no font has."""
    shown = " ".join(name.split())
    if not (shown.isascii() and shown.isprintable()):
        return f"class {label}"
    while length(shown) > TILE:
        shown = f"{shown.rstrip('.')[:-1]}..."
    return shown
