"""Which answers of a low-precision pass may be wrong."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from prune_env.evaluation.base import top_two_gap

# A pass errs by `e` on the difference of two logits. The samples that lead by least are measured
# first; then every sample is that leads by less than 3 times the largest error found, or 4 times
# the root mean square. On a fine-tuned MiniLM in bfloat16 about 3 % of the samples are measured; no
# error among the others was twice the largest of those, or came near the lead of its own sample.
# Few of the first samples would save nothing, since a second round costs more than they do.
_FIRST_SAMPLES = 16
_FIRST_SHARE = 0.028
_OF_LARGEST = 3.0
_OF_ROOT_MEAN_SQUARE = 4.0


def unsure(logits: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the samples (R,) whose class could be another one, until there is none left.

    The bound is measured for the mask at hand, since errors grow and shrink with the logits: the
    samples nearest to a decision are computed exactly, their errors set the bound, and samples
    inside it are computed exactly in turn, until the bound holds for all of them.

    Args:
        logits: float32 (S, C) of the low-precision pass. Before the next samples are asked for, the
            caller writes the exact logits of those that were yielded into it.
    """
    screened = logits.copy()
    gaps = top_two_gap(screened)
    order = np.argsort(gaps, kind="stable")
    count = 0
    wanted = min(len(order), max(_FIRST_SAMPLES, round(_FIRST_SHARE * len(order))))
    while count < wanted:
        yield order[count:wanted]
        count = wanted
        bound = _bound(logits[order[:count]], screened[order[:count]])
        wanted = max(count, int(np.searchsorted(gaps[order], bound, side="right")))


def _bound(exact: npt.NDArray[np.float32], screened: npt.NDArray[np.float32]) -> float:
    """Return the lead below which a class is not sure, from exact and screened logits (R, C)."""
    finite = np.isfinite(exact).all(axis=1) & np.isfinite(screened).all(axis=1)
    if not finite.any():
        return 0.0
    difference = exact[finite].astype(np.float64) - screened[finite]
    errors = np.ptp(difference, axis=1)
    rms = float(np.sqrt(np.mean(errors**2)))
    return max(_OF_LARGEST * float(errors.max()), _OF_ROOT_MEAN_SQUARE * rms)
