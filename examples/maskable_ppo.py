"""MaskablePPO of sb3-contrib, which never tries an illegal action.

Evaluate it with the functions of sb3-contrib: those of Stable-Baselines3 ignore the masks.
"""

import gymnasium as gym
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.sb3.policies import MaskableSetPolicy
from prune_env.agents.sb3.vec_env import PruneVecEnv


def main(total_timesteps: int = 4_000) -> float:
    """Train on 8 episodes at a time; return the mean share of heads pruned while tau holds."""
    env = gym.make("prune_env/Landscape-v0", observation="mask,importance,status,legal")
    envs = PruneVecEnv.beside(env, num_envs=8)
    settings = {"n_steps": 32, "gamma": 1.0, "learning_rate": 3e-3}
    model = MaskablePPO(MaskableSetPolicy, envs, **settings, seed=0, device="cpu")
    model.learn(total_timesteps)
    return float(evaluate_policy(model, envs, n_eval_episodes=8)[0])


if __name__ == "__main__":
    print(f"{main():.0%} of the heads pruned")
