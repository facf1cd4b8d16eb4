"""How policies and protocols are told apart in every figure of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

from matplotlib import colormaps

MARKERS = {
    "": "*",
    "direct": "o",
    "refinetune": "s",
    "direct, heal head": "v",
    "direct, heal full": "^",
    "direct, heal refit": "D",
    "direct, heal unlearn": "P",
    "direct, heal refit-unlearn": "X",
}
"""The shape of a mark, by protocol and healing."""

FILLS = ("full", "left", "top", "right", "bottom")
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Mark:
    """The colour of a policy, and which part of its mark is filled; no two share both.

    Attributes:
        colour: Red, green, blue and opacity.
        fill: A fill style of matplotlib.
        dashes: A line style of matplotlib.
    """

    colour: Any
    fill: str
    dashes: Any

    def point(self, *, contends: bool) -> dict[str, Any]:
        """Return arguments of a point.

        Args:
            contends: Whether it is a defence's; others are hollow.
        """
        return {
            "color": self.colour,
            "fillstyle": self.fill if contends else "none",
            "markerfacecoloralt": "white",
            "markeredgewidth": 0.8 if contends else 1.8,
            "linestyle": "",
        }

    def line(self) -> dict[str, Any]:
        """Return arguments of a line."""
        return {
            "color": self.colour,
            "linestyle": self.dashes,
            "fillstyle": self.fill,
            "markerfacecoloralt": "white",
        }


def marks(names: Sequence[str]) -> dict[str, Mark]:
    """Return a mark for each of up to 100 names, the same in every figure of a report."""
    tints = [tuple(tint) for tint in colormaps["tab20"].resampled(20)(range(20))]
    palette = [*tints[::2], *tints[1::2]]  # ten strong ones, then their pale partners
    styles = list(product(zip(FILLS, LINES, strict=True), palette))
    return {
        name: Mark(colour, fill, dashes)
        for name, ((fill, dashes), colour) in zip(names, cycle(styles), strict=False)
    }
