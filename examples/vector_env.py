"""Eight episodes at a time on one model: their masks are scored together."""

import gymnasium as gym
import numpy as np

import prune_env  # noqa: F401 - registers the environments


def main(steps: int = 200) -> float:
    """Prune random legal heads, and return the mean share pruned when an episode ends."""
    envs = gym.make_vec("prune_env/Landscape-v0", num_envs=8, autoreset_mode="SameStep")
    random = np.random.default_rng(0)
    _, infos = envs.reset(seed=0)
    masks = infos["action_mask"].astype(bool)
    shares = []
    for _ in range(steps):
        actions = (masks[:, :-1] * random.random(masks[:, :-1].shape)).argmax(axis=1)
        _, _, terminations, truncations, infos = envs.step(actions)
        masks = envs.unwrapped.action_masks()  # type: ignore[attr-defined]
        for slot in np.flatnonzero(terminations | truncations):
            shares.append((~infos["final_info"]["mask"][slot]).mean())
    return float(np.mean(shares))


if __name__ == "__main__":
    print(f"{main():.0%} of the heads pruned by chance")
