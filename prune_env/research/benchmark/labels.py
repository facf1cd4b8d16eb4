"""Names beside the points of a figure, where they cover neither points nor each other."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

SIZE = 6.5
"""Of the letters, in points."""
LONGEST = 32
"""Letters of a name; rewards may be formulas."""
NEAR = 6.0
"""From the middle of a point to its name, in points; farther ones get a line."""


def shorten(name: str) -> str:
    """Return the beginning of a name that is too long to stand beside a point."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def name_points(
    figure: Figure,
    axis: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    taken: Sequence[Bbox] = (),
) -> None:
    """Write the name of each point beside it; farther off, with a line, where it is crowded.

    Args:
        figure: Whose layout is made now, and must not change afterwards.
        axis: Holds the points.
        points: In the units of the data.
        names: Of each point.
        taken: What must not be covered either, in pixels.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72
    places = axis.transData.transform(points) if points else np.empty((0, 2))
    names = [shorten(each) for each in names]
    half = 4 * pixel
    covered = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in places]
    covered += taken
    inside = axis.get_window_extent()
    # From the top down, so that names of neighbours stand in the order of their points.
    for index in sorted(range(len(names)), key=lambda each: -places[each][1]):
        x, y = places[index]
        size = np.array([0.58 * SIZE * len(names[index]), 1.25 * SIZE]) * pixel
        box, shift = _free_place((x, y), size, pixel, covered, inside)
        covered.append(box)
        far = max(abs(shift[0]), abs(shift[1])) > 1.5 * NEAR
        axis.annotate(
            names[index],
            points[index],
            xytext=shift,
            textcoords="offset points",
            ha="left" if shift[0] > 0 else "right",
            va="center",
            fontsize=SIZE,
            color="0.2",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.4} if far else None,
        )


def _free_place(
    point: tuple[float, float],
    size: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    pixel: float,
    covered: Sequence[Bbox],
    inside: Bbox,
) -> tuple[Bbox, tuple[float, float]]:
    """Return the nearest box that covers least, and its shift from the point, in points."""
    best: tuple[float, Bbox, tuple[float, float]] | None = None
    for ring, up in product(range(12), (0, 1, -1)):
        for side in (1, -1):
            shift = (side * (NEAR + 5 * ring * (up == 0)), 1.35 * SIZE * ring * up)
            left = point[0] + shift[0] * pixel - (size[0] if side < 0 else 0)
            middle = point[1] + shift[1] * pixel
            box = Bbox.from_bounds(left, middle - size[1] / 2, *size)
            outside = box.width * box.height - _shared(box, inside)
            cost = sum(_shared(box, each) for each in covered) + 4 * outside
            if best is None or cost < best[0]:
                best = (cost, box, shift)
            if cost == 0:
                return box, shift
    assert best is not None  # there are rings
    return best[1], best[2]


def _shared(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))
