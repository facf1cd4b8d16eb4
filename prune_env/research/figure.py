"""Writing a figure: whole or not at all, and by a name that a full disk is told with."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from prune_env.utils.files import write_bytes


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG.

    Args:
        figure: The figure.
        path: Where to; its folder is made.
        dpi: Pixels an inch.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png")
    write_bytes(path, drawn.getvalue())  # whole, and not through a link
