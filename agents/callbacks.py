"""What happens after each episode of learning, whichever agent learns."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.record import TIE, EpisodeCallback, EpisodeReport, LearningRecord
from prune_env.env.mask_events import tell_mask
from prune_env.env.play import play_steps
from prune_env.errors import StateError
from prune_env.utils.counts import count_of
from prune_env.utils.files import read_json, shaped, write_json

BEST = "best.json"
BEST_AGENT = "best"

Played = Callable[[int, Sequence[dict[str, Any]]], None]
"""Takes the steps learned from, and what the agent reached on each model."""


def chain(*callbacks: EpisodeCallback) -> EpisodeCallback:
    """Return a callback that calls all of these; it ends the learning if any of them does."""

    def call_all(report: EpisodeReport) -> bool:
        return False not in [callback(report) for callback in callbacks]

    return call_all


class EarlyStop:
    """Ends the learning after `patience` episodes that did not beat the best one.

    The record notes the end, so that a run that is resumed later does not go on.

    Args:
        patience: Episodes; None never ends it.
        record: Of the agent that learns.
        by_tests: Go by the tests without exploration, over all models, in place of single episodes:
            a good episode on one model of a pool says little of the others. `KeepBest` must be
            called before.
    """

    def __init__(
        self, patience: int | None, record: LearningRecord, *, by_tests: bool = False
    ) -> None:
        self._patience = patience
        self._record = record
        self._by_tests = by_tests

    def __call__(self, report: EpisodeReport) -> bool:
        """Return whether to go on."""
        since = self._record.since_best_test if self._by_tests else report.since_best
        if self._patience is not None and since >= self._patience:
            self._record.finished = True
        return not self._record.finished


class KeepBest:
    """Plays without exploration now and then, and keeps the agent as it was when it did best.

    Of tests that were paid equally, the more accurate one is better.

    Args:
        agent: Who learns.
        env: An environment of its own, so that the learning is not disturbed.
        folder: Takes `best/` (the agent, to be played) and `best.json` (what it reached).
        every: Episodes between two tests.
        tested: Is told of every test.
    """

    def __init__(
        self,
        agent: Any,
        env: gym.Env[Any, Any],
        folder: Path,
        every: int,
        tested: Played = lambda steps, played: None,
    ) -> None:
        self._agent = agent
        self._env = env
        self._folder = folder
        self._every = every
        self._tested = tested

    def __call__(self, report: EpisodeReport) -> None:
        """Test the agent if it is time."""
        if report.number % self._every == 0:
            self._agent.record.add_test(self.test(report.steps), self._every)

    def test(self, steps: int) -> float:
        """Play every model once, and keep the agent if no earlier one was paid as much.

        Returns:
            Mean of the total rewards.
        """
        names = self._env.get_wrapper_attr("core").pool.names
        played = [play(self._env, self._agent, name) for name in names]
        self._tested(steps, played)
        for result in played:
            tell_mask(
                np.array(result["mask"], bool),
                result["accuracy"],
                "test",
                model=result["model"],
                reward=result["total_reward"],
                step=steps,
            )
        total_reward = float(np.mean([result["total_reward"] for result in played]))
        best = read_best(self._folder)
        if best is None or _better(total_reward, played, best):
            self._agent.save(self._folder / BEST_AGENT, weights_only=True)
            write_json(
                self._folder / BEST,
                {"steps": steps, "total_reward": total_reward, "models": played},
            )
        return total_reward


def _better(total_reward: float, played: Sequence[dict[str, Any]], best: dict[str, Any]) -> bool:
    """Return whether a test was paid more than the best one, or as much at a higher accuracy."""
    gain = total_reward - best["total_reward"]
    accuracy, before = (
        np.mean([result["accuracy"] for result in results]) for results in (played, best["models"])
    )
    return bool(gain > TIE or (gain > -TIE and accuracy > before))


def read_best(folder: Path) -> dict[str, Any] | None:
    """Return what the best agent of a run reached without exploration; None if none was tested.

    Raises:
        StateError: `best.json` is not what `KeepBest` writes.
    """
    path = folder / BEST
    if not path.exists():
        return None
    best = read_json(path)
    with shaped(path, "what the best agent reached", "delete it; the agent is tested anew"):
        played = [
            {
                "model": str(each["model"]),
                **{name: _finite(each[name]) for name in ("total_reward", "accuracy")},
                "heads_pruned": int(each["heads_pruned"]),
                **_units(each),
                "mask": [[int(kept) for kept in row] for row in each["mask"]],
            }
            for each in best["models"]
        ]
        if not played:
            raise ValueError("models: none was played")
        total_reward = _finite(best["total_reward"])
        return {"steps": int(best["steps"]), "total_reward": total_reward, "models": played}


def _finite(value: Any) -> float:
    """Return a number of a file; raise a `ValueError` if it is NaN or infinite."""
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def check_best(folder: Path) -> None:
    """Raise if the best agent of a run, if one was tested, is not what `best.json` tells of.

    Args:
        folder: Of the run.

    Raises:
        StateError: `best.json` is not what `KeepBest` writes, or the newest whole checkpoint in
            `best/` is of an earlier step, or there is none.
    """
    best = read_best(folder)
    if best is None:
        return
    kept = folder / BEST_AGENT
    try:
        steps = read_checkpoint(kept).step
    except StateError:
        found = "none"
    else:
        # The agent is written before best.json: a run killed between the two left a newer one.
        if steps >= best["steps"]:
            return
        found = f"one of {count_of(steps, 'step')}"
    raise StateError(
        f"The best agent in {kept} is missing or damaged",
        expected=f"a whole checkpoint of {count_of(best['steps'], 'step')}, of which {BEST} tells",
        actual=found,
        remedy=f"delete {folder / BEST} and {kept}; the agent is tested anew",
    )


def play(env: gym.Env[Any, Any], policy: Any, model: str) -> dict[str, Any]:
    """Play one episode without exploration.

    Returns:
        Plain values: `model`, `total_reward`, `accuracy`, `heads_pruned`, of other units too
        `units_pruned` by their kind, and `mask`, rows of 0 (pruned) and 1 (kept).
    """
    steps = list(play_steps(env, policy, seed=0, options={"model": model}))
    info, total_reward = steps[-1].info, sum(step.reward for step in steps)
    return {
        "model": model,
        "total_reward": total_reward,
        "accuracy": info["accuracy"],
        "heads_pruned": info["heads_pruned"],
        **_units(info),
        "mask": info["mask"].astype(int).tolist(),
    }


def _units(told: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return how many units of each kind are pruned, where there are others than heads."""
    if "units_pruned" not in told:
        return {}
    return {"units_pruned": {str(kind): int(n) for kind, n in told["units_pruned"].items()}}
