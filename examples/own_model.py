"""A classifier of your own, with clean data of your own.

    python examples/own_model.py path/to/classifier clean.tsv

The data is a .tsv, .csv or .jsonl file with the columns `sentence` and `label`.
"""

import gymnasium as gym
import tyro

import prune_env  # noqa: F401 - registers the environments
from prune_env.agents.epsilon_greedy.agent import EpsilonGreedy


def main(model: str, data: str, max_evaluations: int = 400) -> tuple[int, float]:
    """Return how many heads the best mask prunes, and the accuracy that it keeps.

    Args:
        model: Folder or name of the classifier.
        data: File, folder or name of clean data.
        max_evaluations: Masks that may be asked for.
    """
    env = gym.make("prune_env/HeadPruning-v0", model=model, data=data, tau=None)
    agent = EpsilonGreedy.for_env(env)
    agent.learn(env, total_steps=20 * max_evaluations, max_evaluations=max_evaluations)
    assert agent.best_mask is not None
    accuracy = env.get_wrapper_attr("evaluator").accuracy(agent.best_mask[None])[0]
    return int((~agent.best_mask).sum()), float(accuracy)


if __name__ == "__main__":
    pruned, accuracy = tyro.cli(main, config=(tyro.conf.PositionalRequiredArgs,))
    print(f"{pruned} heads pruned, accuracy {accuracy:.1%}")
