"""The main job: a suspicious model and clean data go in, a purified model comes out.

Three steps, so that an experiment can share them between policies: `prepare` fine-tunes the
suspicious model and measures its heads, `search` lets a policy choose a mask, `heal` makes the
purified model. `purify` is the three in a row, with the output folder.
"""

from prune_env.models.ensemble import Ensemble, load_ensemble, write_ensemble
from prune_env.purification.episodes import play
from prune_env.purification.heal import HEALINGS, Healed, heal, removes_backdoor
from prune_env.purification.plan import Plan, choose
from prune_env.purification.prepare import (
    fine_tune_suspicious,
    make_subject,
    measure_heads,
    metrics_for,
    prepare,
)
from prune_env.purification.purify import carry_out, purify
from prune_env.purification.search import search
from prune_env.purification.search_result import SearchResult

__all__ = [
    "HEALINGS",
    "Ensemble",
    "Healed",
    "Plan",
    "SearchResult",
    "carry_out",
    "choose",
    "fine_tune_suspicious",
    "heal",
    "load_ensemble",
    "make_subject",
    "measure_heads",
    "metrics_for",
    "play",
    "prepare",
    "purify",
    "removes_backdoor",
    "search",
    "write_ensemble",
]
