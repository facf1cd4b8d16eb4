"""What a policy that was built for an environment knows of its rules, besides what it is shown."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from prune_env.env.batch_core import BatchCore
from prune_env.env.observation import legal_actions
from prune_env.models.units import Units

Bools = npt.NDArray[np.bool_]


class KnownRules:
    """Tells what is legal in an environment whose observation does not show the part `legal`.

    An observation alone does not say how many heads a layer must keep, nor which columns are no
    heads: of the steps of a map only the next is legal, and of neurons all may go. A policy that
    guesses takes what is refused for the best there is, and chooses it to the end of the episode.

    Args:
        core: Of the environment.
    """

    def __init__(self, core: BatchCore) -> None:
        self._shape = core.pool.shape
        self._least = core.settings.min_heads_per_layer
        self._models = [(board.importance, board.subject.units) for board in core.pool.boards]

    @classmethod
    def of(cls, env: Any) -> Self | None:
        """Return the rules of an environment, wrapped or not; None where it does not tell them."""
        core = getattr(env.unwrapped, "core", None)
        return cls(core) if isinstance(core, BatchCore) else None

    def legal(self, observation: Mapping[str, npt.NDArray[Any]]) -> Bools:
        """Return what a batched observation allows, bool (N, L * H + 1), as `legal_actions` does.

        It is no guess, if the observation is one of the environment; of another grid it is.
        """
        masks = observation["mask"] > 0.5
        if "legal" in observation or masks.shape[1:] != self._shape:
            return legal_actions(observation)
        spare = np.zeros_like(masks)
        for row, mask in enumerate(masks):
            units = self._units_of(observation, row)
            layers, columns = units.shape
            spare[row, :layers, :columns] = units.spare(mask[:layers, :columns], self._least)
        if "status" in observation:  # whatever keeps tau at first keeps it to the end
            spare[observation["status"][:, 1] < 0] = False
        stop = np.ones((len(masks), 1), np.bool_)
        return np.concatenate([spare.reshape(len(masks), -1), stop], axis=1)

    def _units_of(self, observation: Mapping[str, npt.NDArray[Any]], row: int) -> Units:
        """Return the units of the model that is shown; of one that is none of the pool, a guess."""
        first = self._models[0][1]
        if len(self._models) > 1 and "importance" in observation:
            shown = observation["importance"][row]
            for importance, units in self._models:
                if np.array_equal(importance, shown):
                    return units
        return first
