"""A mask that is given, and not searched: a published one, or that of an earlier run."""

import logging
import time
from pathlib import Path

from prune_env.models import load_mask
from prune_env.purification.prepare import Prepared
from prune_env.purification.search import SearchResult, threshold
from prune_env.settings import SearchSettings

log = logging.getLogger(__name__)


def given(prepared: Prepared, path: Path, settings: SearchSettings) -> SearchResult:
    """Return the mask of a file as `search` would, judged once on the validation data.

    Args:
        prepared: What `prepare` or `judged` returned.
        path: A `mask.json`, or one of PURE's files, `{"layer": [pruned heads]}`.
        settings: Only the threshold is read: a mask that falls below it is used, and warned of.

    Raises:
        StateError: The file is missing or no mask.
        SettingsError: The mask does not fit the model.
    """
    started = time.perf_counter()
    # Where layers differ in their number of heads, a file may name heads that do not exist.
    mask = load_mask(path, prepared.evaluator.shape) & prepared.evaluator.available
    accuracy = float(prepared.evaluator.accuracy(mask[None])[0])
    tau = threshold(prepared, settings)
    if accuracy < tau:
        log.warning(
            "Under the mask of %s, validation accuracy is %.3f, below tau %.3f", path, accuracy, tau
        )
    return SearchResult(
        policy="given",
        mask=mask,
        accuracy=accuracy,
        tau=tau,
        evaluations=1,
        seconds=time.perf_counter() - started,
    )
