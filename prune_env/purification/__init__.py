"""The main job: a suspicious model and clean data go in, a purified model comes out.

Three steps, so that an experiment can share them between policies: `prepare` fine-tunes the
suspicious model and measures its heads, `search` lets a policy choose a mask, `finish` makes the
purified model. `purify` is the three in a row, with the output folder.
"""

from prune_env.models.ensemble import Ensemble, load_ensemble, save_ensemble, write_ensemble
from prune_env.purification.heal import REMOVING, finish
from prune_env.purification.prepare import (
    Prepared,
    fine_tuned,
    judged,
    measured_heads,
    metrics_for,
    prepare,
)
from prune_env.purification.purify import purify
from prune_env.purification.search import SearchResult, play, search

__all__ = [
    "REMOVING",
    "Ensemble",
    "Prepared",
    "SearchResult",
    "fine_tuned",
    "finish",
    "judged",
    "load_ensemble",
    "measured_heads",
    "metrics_for",
    "play",
    "prepare",
    "purify",
    "save_ensemble",
    "search",
    "write_ensemble",
]
