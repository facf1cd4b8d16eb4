"""Epsilon-greedy: action values over features of heads, in numpy."""

from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy

__all__ = ["EpsilonGreedy"]
