"""A reward of your own, by name: prune, but spare the first layer."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from prune_env import REWARDS, Reward, Subject
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy


class FirstLayerKept(Reward):
    """Share of the first layer's heads that are kept."""

    name: ClassVar[str] = "first_layer_kept"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    source: ClassVar[str] = "an example"
    reads: ClassVar[str] = "the mask"

    def score(
        self, subject: Subject, masks: npt.NDArray[np.bool_], accuracy: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the score of every mask (N, L, H), float64 (N,)."""
        kept: npt.NDArray[np.float64] = masks[:, 0].mean(axis=1)
        return kept


REWARDS.register("first_layer_kept", FirstLayerKept, help="share of the first layer that is kept")


def main(total_steps: int = 3_000) -> npt.NDArray[np.bool_]:
    """Let the epsilon-greedy agent learn, and return the best mask that it saw."""
    env = gym.make("prune_env/Landscape-v0", reward="sparsity + 2.0 * first_layer_kept")
    agent = EpsilonGreedy.for_env(env).learn(env, total_steps=total_steps)
    assert agent.best_mask is not None
    return agent.best_mask


if __name__ == "__main__":
    mask = main()
    print("kept heads per layer:", mask.sum(axis=1).tolist())
