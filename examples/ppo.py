"""PPO of Stable-Baselines3 on a head-pruning environment, in 15 lines."""

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.sb3.policies import SetActorCriticPolicy


def main(total_timesteps: int = 4_000) -> float:
    """Train, and return the mean share of heads that the policy prunes while tau holds."""
    env = gym.make("prune_env/Landscape-v0", observation="mask,importance,status,legal")
    settings = {"n_steps": 256, "gamma": 1.0, "learning_rate": 3e-3}
    model = PPO(SetActorCriticPolicy, env, **settings, seed=0, device="cpu")
    model.learn(total_timesteps)
    return float(evaluate_policy(model, model.get_env(), n_eval_episodes=5)[0])


if __name__ == "__main__":
    print(f"{main():.0%} of the heads pruned")
