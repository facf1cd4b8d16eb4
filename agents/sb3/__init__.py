"""Stable-Baselines3: DQN, PPO, A2C and MaskablePPO over a network that treats heads as a set."""
