"""The picture of the README: a head grid as it is pruned.

Run it as `python -m tests.benchmarks.pictures` from the root of a checkout (seconds). It lets the
order `gradient` play `prune_env/Landscape-v0` and puts three of the environment's own pictures
(`render_mode="rgb_array"`) side by side: the whole model, half way, and the end.
"""

from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image

from prune_env import POLICIES

TARGET = Path(__file__).parents[2] / "docs" / "images" / "head-grid.png"
COLOURS = 128


def main() -> None:
    """Play, and write the picture."""
    env = gym.make("prune_env/Landscape-v0", render_mode="rgb_array")
    policy = POLICIES["gradient"].for_env(env)
    observation, info = env.reset(seed=0)
    frames = [np.asarray(env.render())]
    done = False
    while not done:
        action, _ = policy.predict(observation, action_masks=info["action_mask"])
        observation, _, terminated, truncated, info = env.step(action)
        frames.append(np.asarray(env.render()))
        done = terminated or truncated
    shown = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]], axis=1)
    TARGET.parent.mkdir(exist_ok=True)
    Image.fromarray(shown).quantize(COLOURS).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
