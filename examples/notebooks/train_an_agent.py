# %% [markdown]
# # Notebook: train an agent
#
# MaskablePPO of sb3-contrib, the companion of Stable-Baselines3, learns to prune a tiny
# backdoored BERT; then we look at what it prunes. It takes seconds.
#
# `jupytext --to ipynb` makes a notebook of this script, and many editors run its cells as they
# are.

# %%
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image
from sb3_contrib import MaskablePPO

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.sb3.policies import MaskableSetPolicy
from prune_env.agents.sb3.vec_env import PruneVecEnv

# %% [markdown]
# ## The game
#
# An action prunes a head, the last one stops. The model must keep an accuracy of tau on clean
# sentences; heads that break it come back, and the episode ends. `legal` is a part of the
# observation that the agent's network reads.

# %%
env = gym.make(
    "prune_env/Tiny-v0",
    observation="mask,importance,status,legal",
    render_mode="rgb_array",
)
observation, info = env.reset(seed=0)
print(env.action_space, {name: part.shape for name, part in observation.items()})

# %% [markdown]
# ## By chance

# %%
random = np.random.default_rng(0)


def play(choose) -> dict:
    """Play one episode, and return the info of its last step."""
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(choose(observation, info))
        done = terminated or truncated
    return info


def pruned(info: dict) -> int:
    """Return how many heads the mask of an episode leaves out; True is kept."""
    return int((~info["mask"]).sum())


def by_chance(observation: dict, info: dict) -> int:
    """Prune any head that may be pruned."""
    return int(random.choice(np.flatnonzero(info["action_mask"][:-1])))


chance = np.mean([pruned(play(by_chance)) for _ in range(10)])
print(f"{chance:.1f} of {info['mask'].size} heads pruned by chance")

# %% [markdown]
# ## Learn
#
# The reward is the share of heads pruned while tau holds. Eight episodes at a time share one
# model.

# %%
envs = PruneVecEnv.beside(env, num_envs=8)
model = MaskablePPO(
    MaskableSetPolicy, envs, n_steps=16, gamma=1.0, learning_rate=3e-3, seed=0, device="cpu"
)
model.learn(1024)

# %% [markdown]
# ## Look at what it prunes


# %%
def by_agent(observation: dict, info: dict) -> int:
    """Do what the agent thinks best."""
    action, _ = model.predict(observation, deterministic=True, action_masks=info["action_mask"])
    return int(action)


last = play(by_agent)
learned = pruned(last)
print(f"{learned} of {last['mask'].size} heads pruned, accuracy {last['accuracy']:.3f}")
for layer, row in enumerate(last["mask"]):
    print(f"layer {layer}: pruned heads {np.flatnonzero(~row).tolist()}")

# %% [markdown]
# The picture of the episode: blue heads are kept, the deeper the more important; grey ones are
# gone.

# %%
picture = Path(tempfile.mkdtemp()) / "heads.png"
Image.fromarray(env.render()).save(picture)
print(picture)
