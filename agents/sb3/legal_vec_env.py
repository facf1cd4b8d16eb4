"""The environment with the part `legal` in its observation, whatever else it shows."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from prune_env.agents.sb3.vec_env import PruneVecEnv
from prune_env.observation import LegalPart
from prune_env.policy import Observation


class LegalVecEnv(VecEnvWrapper):
    """Adds what the environment allows to what a `PruneVecEnv` shows.

    DQN, PPO and A2C hand no action masks to their network, and the other parts of the observation
    do not tell the rules: how many heads a layer must keep, whether the unpruned model is below
    tau, what is padding.

    Args:
        envs: The episodes.
    """

    def __init__(self, envs: PruneVecEnv) -> None:
        shown: Any = envs.observation_space
        legal = LegalPart().space(envs.core.pool)
        super().__init__(envs, spaces.Dict({**shown.spaces, LegalPart.name: legal}))

    def reset(self) -> Observation:
        """Begin new episodes; see `PruneVecEnv.reset`."""
        return self._show(self._envs.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Take the actions; see `PruneVecEnv.step_wait`."""
        observations, rewards, dones, infos = self._envs.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                legal = info["action_mask"].astype(np.float32)
                info["terminal_observation"][LegalPart.name] = legal
        return self._show(observations), rewards, dones, infos

    def observe(self) -> Observation:
        """Return the present observation of every episode, stacked."""
        return self._show(self._envs.observe())

    @property
    def _envs(self) -> Any:
        return self.venv

    def _show(self, observations: Observation) -> Observation:
        legal: npt.NDArray[np.bool_] = self._envs.action_masks()
        return {**observations, LegalPart.name: legal.astype(np.float32)}
