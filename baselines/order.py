"""Policies that prune heads in the order of one importance metric."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from prune_env.baselines.baseline import Baseline, BoolArray
from prune_env.env.policy import Observation, Requirements
from prune_env.errors import SettingsError
from prune_env.utils.counts import count_of


class OrderPolicy(Baseline):
    """Prunes the legal head whose metric is smallest; equal heads go by layer, then head.

    A subclass names its metric for each variant, and may leave heads out by `candidates`.
    """

    reads = ("mask", "importance")
    metric: ClassVar[dict[str, str]]
    reads_reward = False

    def choose(self, observation: Observation, legal: BoolArray) -> int:
        """Return the legal candidate of smallest metric, or STOP where no candidate is left."""
        allowed = legal & self.candidates(observation)
        if not allowed.any():
            return legal.size
        return int(np.where(allowed, self.scores(observation), np.inf).argmin())

    def scores(self, observation: Observation) -> npt.NDArray[np.float32]:
        """Return the metric (L, H) by which heads are ordered.

        Raises:
            SettingsError: The observation holds other metrics than named at construction.
        """
        importance = observation["importance"]
        if importance.shape[-1] != len(self.metrics):
            raise SettingsError(
                f"{type(self).__name__} was built for other importance metrics",
                expected=f"{count_of(len(self.metrics), 'column')}: {', '.join(self.metrics)}",
                actual=count_of(importance.shape[-1], "column"),
                remedy=f"build it with {type(self).__name__}.for_env(env)",
            )
        return importance[..., self.metrics.index(self.metric[self.variant])]

    def candidates(self, observation: Observation) -> BoolArray:
        """Return the heads (L, H) that the strategy is willing to prune now."""
        return np.ones(observation["mask"].shape, dtype=bool)

    @classmethod
    def _requirements(cls, variant: str) -> Requirements:
        return Requirements(metrics=(cls.metric[variant],))
