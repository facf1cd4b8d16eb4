"""Conservative Q-learning with TorchRL (`pip install torchrl`) on a Minari data set, no play.

    prune-env record --model models/mine --data clean.tsv --out runs/mine.npz \
        --surrogate runs/mine-surrogate.npz --minari prune/mine-v0
    python examples/offline_cql.py prune/mine-v0

What is learned is played once on the recorded model that the data set names.
"""

import gymnasium as gym
import minari
import numpy as np
import torch
import tyro
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.modules import MLP, QValueActor
from torchrl.objectives import DiscreteCQLLoss, SoftUpdate, ValueEstimators


def transitions(episode: minari.EpisodeData, space: gym.spaces.Dict) -> TensorDict:
    """Return the steps of an episode: one vector an observation, and what was legal."""
    vectors = np.concatenate(
        [episode.observations[part].reshape(len(episode) + 1, -1) for part in space], axis=1
    )
    seen = TensorDict(
        {
            "observation": torch.from_numpy(vectors),
            "action_mask": torch.from_numpy(episode.infos["action_mask"]).bool(),
        },
        [len(episode) + 1],
    )
    told = {
        "reward": torch.from_numpy(episode.rewards).float()[:, None],
        "terminated": torch.from_numpy(episode.terminations)[:, None],
        "done": torch.from_numpy(episode.terminations | episode.truncations)[:, None],
    }
    steps = seen[:-1].clone()
    steps["action"] = torch.from_numpy(episode.actions)
    steps["next"] = seen[1:].clone().update(told)
    return steps


def learn(data: minari.MinariDataset, space: gym.spaces.Dict, updates: int) -> QValueActor:
    """Return an actor that was fitted to a data set; Kumar et al., NeurIPS 2020."""
    steps = torch.cat([transitions(episode, space) for episode in data])
    memory = TensorDictReplayBuffer(storage=LazyTensorStorage(len(steps)), batch_size=128)
    memory.extend(steps)
    network = MLP(steps["observation"].shape[1], int(data.action_space.n), num_cells=[128, 128])
    actor = QValueActor(
        network, in_keys=["observation"], action_space="categorical", action_mask_key="action_mask"
    )
    loss = DiscreteCQLLoss(actor, action_space="categorical")
    loss.make_value_estimator(ValueEstimators.TD0, gamma=1.0)
    follow = SoftUpdate(loss, tau=0.01)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-3)
    for _ in range(updates):
        losses = loss(memory.sample())
        optimiser.zero_grad()
        (losses["loss_qvalue"] + 0.1 * losses["loss_cql"]).backward()
        optimiser.step()
        follow.step()
    return actor


def main(name: str, updates: int = 1_000) -> float:
    """Learn from a data set, play once, and return the share of the heads that was pruned.

    Args:
        name: Of the Minari data set, as `prune-env record --minari` wrote it.
        updates: Of the network.
    """
    torch.manual_seed(0)
    data = minari.load_dataset(name)
    env = data.recover_environment()
    actor = learn(data, env.observation_space, updates)
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        state = {
            "observation": torch.from_numpy(gym.spaces.flatten(env.observation_space, observation)),
            "action_mask": torch.from_numpy(info["action_mask"]).bool(),
        }
        with torch.no_grad():
            action = int(actor(TensorDict(state))["action"])
        observation, _, terminated, truncated, info = env.step(action)
        done = terminated or truncated
    share = float((~info["mask"]).mean())
    print(f"{share:.0%} of the heads pruned at {info['accuracy']:.1%} accuracy")
    return share


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.PositionalRequiredArgs,))
