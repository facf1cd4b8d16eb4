"""One episode, played by a policy that does not explore."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from prune_env.env.policy import Policy


class PlayedStep(NamedTuple):
    """A step of an episode.

    Attributes:
        action: What the policy chose.
        reward: What was paid for it.
        info: What the environment tells after it.
    """

    action: int
    reward: float
    info: dict[str, Any]


def play_steps(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    seed: int,
    options: dict[str, Any] | None = None,
) -> Iterator[PlayedStep]:
    """Play an episode deterministically, to its end or until nobody asks for the next step.

    Args:
        env: A `HeadPruningEnv`, wrapped or not.
        policy: Chooses the actions.
        seed: Of the episode.
        options: Of its reset.

    Yields:
        Every step, after it was taken.

    Raises:
        BudgetError: A step asked for more evaluations than are allowed.
    """
    observation, info = env.reset(seed=seed, options=options)
    state, start, done = None, True, False
    while not done:
        action, state = policy.predict(
            observation,
            state,
            episode_start=np.array([start]),
            deterministic=True,
            action_masks=info["action_mask"].astype(bool),
        )
        observation, reward, terminated, truncated, info = env.step(int(action))
        start, done = False, terminated or truncated
        yield PlayedStep(int(action), float(reward), info)
