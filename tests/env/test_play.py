"""One deterministic episode, whoever plays it."""

from typing import Any

import numpy as np
import pytest

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.play import play_steps
from prune_env.errors import SettingsError


class Always:
    """Chooses one action, whatever is legal."""

    def __init__(self, action: int) -> None:
        self.action = action

    def predict(self, observation: Any, state: Any = None, **others: Any) -> tuple[Any, Any]:
        return np.array(self.action), state


@pytest.mark.parametrize("action", [0, 10**6, -1])
def test_a_policy_that_keeps_to_an_illegal_action_is_stopped(action: int) -> None:
    """Such an action changes nothing, so the episode would never end."""
    env = HeadPruningEnv(landscape_subject(layers=2, heads=4), tau=0.0)
    with pytest.raises(SettingsError, match=r"illegal action 100 times in a row.*allows, such as"):
        list(play_steps(env, Always(action), seed=0))  # type: ignore[arg-type]
