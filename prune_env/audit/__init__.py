"""Research: do rewards that see clean data only rank masks as the hidden LFR does?

Nothing here may be imported by a defence: an audit reads triggered texts.
"""

from prune_env.audit.audit import Audit, AuditSettings, audit
from prune_env.audit.correlation import Correlation, rank_correlation
from prune_env.audit.masks import Draw, draw_masks
from prune_env.audit.report import write_report

__all__ = [
    "Audit",
    "AuditSettings",
    "Correlation",
    "Draw",
    "audit",
    "draw_masks",
    "rank_correlation",
    "write_report",
]
