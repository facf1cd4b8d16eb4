"""Trainings that take a second, for the tests of what surrounds them."""

from dataclasses import replace

from prune_env.agents.train_settings import TrainSettings

SETTINGS = TrainSettings(
    algorithm="epsilon-greedy",
    env="prune_env/Landscape-v0",
    env_arguments={"model": "landscape:layers=2,heads=4", "tau": 0.8},
    total_steps=60,
    save_every=20,
    test_every=4,
)
PPO = replace(
    SETTINGS, algorithm="ppo", hyperparameters={"num_envs": 2, "n_steps": 8, "batch_size": 16}
)
