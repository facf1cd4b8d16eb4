"""Research: do rewards that see clean data only rank masks as the hidden LFR does?

Nothing here may be imported by a defence: an audit reads triggered texts.
"""

from prune_env.research.audit.audit import AuditResult, AuditSettings, audit
from prune_env.research.audit.combination import (
    Combination,
    Judgement,
    combine,
    judge,
    learnable,
    shared_rewards,
)
from prune_env.research.audit.correlation import Correlation, rank_correlation
from prune_env.research.audit.masks import Draw, draw_masks
from prune_env.research.audit.report import write_report
from prune_env.research.audit.results import Results

__all__ = [
    "AuditResult",
    "AuditSettings",
    "Combination",
    "Correlation",
    "Draw",
    "Judgement",
    "Results",
    "audit",
    "combine",
    "draw_masks",
    "judge",
    "learnable",
    "rank_correlation",
    "shared_rewards",
    "write_report",
]
