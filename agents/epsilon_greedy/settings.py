"""How the epsilon-greedy agent explores and learns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from prune_env.errors import SettingsError

FITTED: Mapping[str, Mapping[str, Any]] = {
    "prune_env/MiniLM-v0": {"learning_rate": 3e-3, "updates_per_step": 4, "trace": 0.3},
}
"""Changes to the defaults by id of an environment.

For MiniLM searched by tests/benchmarks/tune_agents.py: six random draws, 2,000 steps, three
landscapes of 6 x 12 heads, an agent each, max_drop 0.03. Heads pruned in the best episode while
learning (by the greedy policy at the end): with the defaults 39.3 (37.3); the six draws 36.3 to
43.0 (34.3 to 42.7), the last one taken. On three landscapes that the search did not see: 39.7 +-
2.4 (36.7) against 37.0 +- 3.1 (33.3).
"""


@dataclass(frozen=True)
class EpsilonGreedySettings:
    """How `EpsilonGreedy` explores and learns.

    The defaults were tuned on six synthetic landscapes at a budget of 400 mask evaluations: a
    small network, several updates a step, little exploration. `FITTED` changes some by id.

    Attributes:
        epsilon_start: Share of random actions at the first step.
        epsilon_end: Share of random actions once the schedule has ended.
        epsilon_share: Share of all steps over which epsilon falls linearly.
        trace: Lambda of the returns: 0 trusts the learned value of the next state, 1 only what
            the episode really paid.
        discount: Weight of the next step's value; 1 because episodes are short and end.
        hidden: Width of the value networks.
        learning_rate: Step size of Adam.
        batch_size: Remembered actions in one update.
        updates_per_step: Updates for each step taken.
        memory: Number of latest returns that are remembered.
    """

    epsilon_start: float = 0.3
    epsilon_end: float = 0.05
    epsilon_share: float = 0.5
    trace: float = 0.6
    discount: float = 1.0
    hidden: int = 16
    learning_rate: float = 1e-3
    batch_size: int = 64
    updates_per_step: int = 8
    memory: int = 10_000

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            SettingsError: A value is of another type than its default, or out of range.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            is_int = isinstance(value, int) and not isinstance(value, bool)
            is_number = is_int or (isinstance(value, float) and math.isfinite(value))
            if field.name == "hidden":  # a stranger's agent may ask for more than there is memory
                fits, expected = is_int and 1 <= value <= 4096, "an int from 1 to 4096"
            elif isinstance(field.default, int):
                fits, expected = is_int and value >= 1, "an int >= 1"
            elif field.name == "learning_rate":
                fits, expected = is_number and value > 0, "a number > 0"
            else:
                fits, expected = is_number and 0 <= value <= 1, "a number from 0 to 1"
            if not fits:
                raise SettingsError(
                    f"{field.name} of epsilon-greedy",
                    expected=expected,
                    actual=repr(value),
                    remedy=f"leave it out to have {field.default}",
                )

    @classmethod
    def changed(
        cls, changes: Mapping[str, Any], env_id: str | None = None
    ) -> "EpsilonGreedySettings":
        """Return the defaults with some changes, by name.

        Args:
            changes: What the user wants otherwise.
            env_id: Whose changes in `FITTED` to start from, if there are any.

        Raises:
            SettingsError: A name is unknown, or a value is of another type or out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise SettingsError(
                f"epsilon-greedy has no hyperparameter {', '.join(unknown)}",
                expected=f"some of {', '.join(known)}",
            )
        return cls(**{**FITTED.get(env_id or "", {}), **changes})

    def epsilon(self, progress: float) -> float:
        """Return the share of random actions when `progress` (0 to 1) of all steps are taken."""
        fallen = min(progress / self.epsilon_share, 1.0) if self.epsilon_share else 1.0
        return self.epsilon_start + fallen * (self.epsilon_end - self.epsilon_start)
