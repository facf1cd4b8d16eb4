"""Which rows a draw takes."""

import numpy as np
import numpy.typing as npt


def about(counts: npt.NDArray[np.int64], order: npt.NDArray[np.int64], size: int) -> list[int]:
    """Return which texts to take, in this order, so that about `size` rows are taken.

    Args:
        counts: Rows of each text.
        order: Of the texts.
        size: Rows wanted.

    Returns:
        One text at least, and not all; one of many rows is passed over if without it the number is
        nearer.
    """
    taken: list[int] = []
    missing = size
    for text in order.tolist():
        if missing <= 0 or len(taken) == len(order) - 1:
            break
        if counts[text] <= 2 * missing:
            taken.append(text)
            missing -= int(counts[text])
    return taken or [int(order[counts[order].argmin()])]
