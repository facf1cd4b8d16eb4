"""What the published epsilon-greedy code really does, for comparison with the paper's agent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.agents.features import BoolArray
from prune_env.env.policy import Observation
from prune_env.errors import SettingsError

VARIANCES = ("cls_variance_released", "cls_variance")

EPSILON = 0.1
"""Probability of a random group."""

GROUP = 10
"""Heads in a group."""


class ReleasedRule:
    """Groups of heads: mostly those of lowest [CLS] variance, sometimes random; never STOP.

    Source: the published code of arXiv 2508.20032. In a loop it takes ten heads: with
    probability `EPSILON` at random, otherwise those of lowest variance. It has no reward, learns
    nothing, and returns the mask that has just broken the threshold: play it with
    `prune_step=10, backtrack=False`.

    Args:
        metrics: Names of the importance metrics in the observation; must hold the [CLS] variance as
            the published code computes it, `cls_variance_released`, or at least `cls_variance`.
        rng: Decides groups and random heads.
    """

    def __init__(self, metrics: Sequence[str], rng: np.random.Generator) -> None:
        held = [name for name in VARIANCES if name in metrics]
        if not held:
            raise SettingsError(
                "The released epsilon-greedy loop orders heads by [CLS] variance",
                expected=f"{' or '.join(VARIANCES)} among the metrics",
                actual=", ".join(metrics),
                remedy=f"make the environment with metrics that hold {VARIANCES[0]}",
            )
        self._rng = rng
        self._column = list(metrics).index(held[0])

    def choose(
        self,
        observation: Observation,
        legal: BoolArray,
        state: Any,
        episode_start: Any,
        deterministic: bool,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return one action per environment and the state for the next call.

        Args:
            observation: With a batch dimension of N.
            legal: Bool (N, L * H + 1).
            state: Int64 (N, 2): heads left in the group, and whether it is a random one.
            episode_start: Bool (N,): a new group begins there.
            deterministic: No random groups.
        """
        count = len(legal)
        groups = np.zeros((count, 2), np.int64) if state is None else np.array(state, np.int64)
        if episode_start is not None:
            groups[np.asarray(episode_start, bool).reshape(count)] = 0
        for fresh in np.flatnonzero(groups[:, 0] == 0):
            groups[fresh] = GROUP, not deterministic and self._rng.random() < EPSILON
        variance = observation["importance"][..., self._column].reshape(count, -1)
        actions = np.empty(count, np.int64)
        for index, (group, allowed) in enumerate(zip(groups, legal, strict=True)):
            heads = np.flatnonzero(allowed[:-1])
            if len(heads) == 0:
                actions[index] = legal.shape[1] - 1
            elif group[1]:
                actions[index] = int(self._rng.choice(heads))
            else:
                actions[index] = int(heads[variance[index, heads].argmin()])
        groups[:, 0] -= 1
        return actions, groups
