"""The rules of an episode that a user may choose."""

import math
from dataclasses import dataclass, fields

from prune_env.env.arguments import plain, whole_number
from prune_env.errors import SettingsError
from prune_env.settings import least_accuracy


@dataclass(frozen=True)
class EpisodeSettings:
    """The rules of an episode that a user may choose.

    Attributes:
        tau: Least accuracy on clean validation data; None takes the accuracy of the unpruned
            model minus `max_drop`, which is fair to the models of a pool.
        max_drop: Accuracy that may be lost where tau is None.
        prune_step: Heads pruned between two looks at the accuracy: 1 to learn, 10 in the paper.
        backtrack: Where a group of heads breaks tau: restore them one by one, the last pruned
            first, until tau holds; otherwise the whole group at once.
        min_heads_per_layer: Heads that every layer keeps.
        max_evaluations: Masks that may be scored in an episode, None for no limit. The unpruned
            model is not counted.
        end_on_illegal: Whether an illegal action ends the episode, or else is a no-op.
        success_share: Least share of the heads that a mask prunes to count as a success. The
            default is a little more than random play reaches on landscapes (22 %).
        illegal_penalty: What an illegal action is charged, on top of earning nothing.
    """

    tau: float | None = 0.85
    max_drop: float = 0.03
    prune_step: int = 1
    backtrack: bool = True
    min_heads_per_layer: int = 1
    max_evaluations: int | None = None
    end_on_illegal: bool = False
    success_share: float = 0.25
    illegal_penalty: float = 0.0

    def __post_init__(self) -> None:
        """Check types and ranges; numbers of NumPy become Python's own, for states.

        Raises:
            SettingsError: A value is of another type, or out of range.
        """
        wholes = {"prune_step": 1, "min_heads_per_layer": 0, "max_evaluations": 1}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name in wholes and not (name == "max_evaluations" and value is None):
                value = whole_number(name, value, wholes[name])
            object.__setattr__(self, name, plain(name, value))
        for name in ("tau", "max_drop", "success_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise SettingsError(
                    f"{name} is out of range",
                    expected="0 to 1",
                    actual=share,
                    remedy="0.85 means 85 %",
                )
        if not 0 <= self.illegal_penalty < math.inf:
            raise SettingsError(
                "illegal_penalty is out of range",
                expected="a finite number >= 0",
                actual=self.illegal_penalty,
            )

    def threshold(self, accuracy: float) -> float:
        """Return the accuracy to keep, for a model that has this one unpruned."""
        return least_accuracy(accuracy, self.tau, self.max_drop)
