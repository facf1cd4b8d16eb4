"""Head metrics by name: one number a head, computed from the weights or from clean data."""

from prune_env.importance.registry import DEFAULT_METRICS, METRICS, head_importance

__all__ = ["DEFAULT_METRICS", "METRICS", "head_importance"]
