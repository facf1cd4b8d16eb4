"""DQN that explores among legal actions."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import DQN

from prune_env.agents.features import as_batch
from prune_env.agents.sb3.agent import Paced, SB3Agent
from prune_env.agents.sb3.network import ILLEGAL, SetNetwork
from prune_env.agents.sb3.policies import SetQPolicy
from prune_env.env.observation import legal_actions


class LegalDQN(Paced, DQN):
    """DQN whose random actions are legal ones, in environments that show the part `legal`.

    Stable-Baselines3 explores over the whole action space. Here that would waste a step on every
    head that is pruned already, and would teach the network values of actions that it must not
    take. Each environment also flips its own coin, where the original flips one for all.
    """

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Return the best action, or with probability epsilon a random legal one."""
        batch, single = as_batch(observation)
        actions, state = self.policy.predict(batch, state, episode_start, deterministic=True)
        if not deterministic:
            random = np.random.random(len(actions)) < self.exploration_rate
            actions = np.where(random, _random_legal(batch), actions)
        return (actions[0] if single else actions), state

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.num_timesteps < learning_starts:
            actions = _random_legal(self._last_obs)
        else:
            actions, _ = self.predict(self._last_obs)
        return actions, actions


def _random_legal(batch: Any) -> npt.NDArray[np.int64]:
    legal = legal_actions(batch)
    # The global generator, as everywhere in Stable-Baselines3: checkpoints hold its state.
    actions: npt.NDArray[np.int64] = (legal * np.random.random(legal.shape)).argmax(axis=1)
    return actions


class DQNAgent(SB3Agent):
    """Deep Q-network (Mnih et al., 2015) over a set of heads; see `SB3Agent` and `LegalDQN`."""

    algorithm = "dqn"
    model_class = LegalDQN
    policy_class = SetQPolicy

    def _perturb(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Take a random legal action with the last epsilon of the training."""
        random = self._rng.random(len(scores)) < self.hyperparameters["exploration_final_eps"]
        legal = scores[random] > ILLEGAL / 2
        scores[random] = np.where(legal, self._rng.random(legal.shape), -np.inf)
        return scores

    def _networks(self, model: Any) -> list[SetNetwork]:
        networks = (model.q_net, model.q_net_target)
        return [network.features_extractor.network for network in networks]
