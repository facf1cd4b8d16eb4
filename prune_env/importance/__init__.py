"""Head metrics by name: one number a head, computed from the weights or from clean data."""

from prune_env.importance.compute import head_importance
from prune_env.importance.metrics import DEFAULT_METRICS, METRICS

__all__ = ["DEFAULT_METRICS", "METRICS", "head_importance"]
