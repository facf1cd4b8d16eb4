"""What happens after each episode of learning, whichever agent learns."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from prune_env.agents.features import BoolArray
from prune_env.agents.record import EpisodeCallback, EpisodeReport
from prune_env.evaluation import Evaluator
from prune_env.files import read_json, write_json

CELL = 14
KEPT, PRUNED, GRID = (38, 84, 124), (236, 233, 226), (255, 255, 255)


def chain(*callbacks: EpisodeCallback) -> EpisodeCallback:
    """Return a callback that calls all of these; it ends the learning if any of them does."""

    def call_all(report: EpisodeReport) -> bool:
        return False not in [callback(report) for callback in callbacks]

    return call_all


class EarlyStop:
    """Ends the learning after `patience` episodes that did not beat the best one."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def __call__(self, report: EpisodeReport) -> bool:
        """Return whether to go on."""
        return report.since_best < self.patience


class KeepBest:
    """Plays without exploration now and then, and keeps the agent as it was when it did best.

    Args:
        agent: Who learns.
        env: An environment of its own, so that the learning is not disturbed.
        folder: Takes `best/` (the agent, to be played) and `best.json` (what it reached).
        every: Episodes between two tests.
    """

    def __init__(self, agent: Any, env: gym.Env[Any, Any], folder: Path, every: int) -> None:
        self._agent = agent
        self._env = env
        self._folder = folder
        self._every = every

    def __call__(self, report: EpisodeReport) -> None:
        """Test the agent if it is time."""
        if report.number % self._every == 0:
            self.test(report.steps)

    def test(self, steps: int) -> None:
        """Play every model once, and keep the agent if no earlier one was paid as much."""
        names = self._env.get_wrapper_attr("core").pool.names
        played = [play(self._env, self._agent, name) for name in names]
        total_reward = float(np.mean([result["total_reward"] for result in played]))
        path = self._folder / "best.json"
        if path.exists() and read_json(path)["total_reward"] >= total_reward:
            return
        self._agent.save(self._folder / "best", weights_only=True)
        write_json(path, {"steps": steps, "total_reward": total_reward, "models": played})


def play(env: gym.Env[Any, Any], policy: Any, model: str) -> dict[str, Any]:
    """Play one episode without exploration.

    Returns:
        Plain values: `model`, `total_reward`, `accuracy`, `heads_pruned`, and `mask`, rows of 0
        (pruned) and 1 (kept).
    """
    observation, info = env.reset(seed=0, options={"model": model})
    state, total_reward, done, start = None, 0.0, False, True
    while not done:
        action, state = policy.predict(
            observation,
            state,
            np.array([start]),
            deterministic=True,
            action_masks=info["action_mask"].astype(bool),
        )
        observation, reward, terminated, truncated, info = env.step(int(action))
        total_reward += float(reward)
        done, start = terminated or truncated, False
    return {
        "model": model,
        "total_reward": total_reward,
        "accuracy": info["accuracy"],
        "heads_pruned": info["heads_pruned"],
        "mask": info["mask"].astype(int).tolist(),
    }


class TensorBoard:
    """Shows the learning in TensorBoard.

    Per episode: return, length, accuracy, share of heads pruned, every reward term, what the
    algorithm reports of itself (epsilon or entropy, losses), evaluations a second and the share
    of masks that the evaluators knew already. Now and then the mask as a picture; the best mask
    whenever it changes; the settings as text, and as HParams at the end.

    Args:
        writer: Takes it all.
        evaluators: Those of the models that are played.
        settings: What the run was started with, as plain values.
        image_every: Episodes between two pictures.
        clock: Seconds.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        evaluators: Sequence[Evaluator],
        settings: Mapping[str, Any],
        *,
        image_every: int = 20,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._evaluators = evaluators
        self._settings = {name: str(value) for name, value in settings.items()}
        self._image_every = image_every
        self._clock = clock
        self._started = clock()
        self._computed_before = self._computed()
        self._asked = 0
        self._last: EpisodeReport | None = None
        rows = [f"| {name} | {value} |" for name, value in self._settings.items()]
        writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def __call__(self, report: EpisodeReport) -> None:
        """Write one episode."""
        self._last = report
        self._asked += report.info["evaluations"] + 1  # and the unpruned model, at reset
        computed = self._computed() - self._computed_before
        scalars = {
            "rollout/return": report.total_reward,
            "rollout/length": report.length,
            "mask/accuracy": report.info["accuracy"],
            "mask/heads_pruned": report.info["heads_pruned"],
            "best/return": report.best_return,
            "time/evaluations_per_second": computed / max(self._clock() - self._started, 1e-9),
            "time/memo_hit_rate": max(0.0, 1 - computed / self._asked),
            **{f"reward/{name}": value for name, value in report.reward_terms.items()},
            **report.figures,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.steps)
        if report.number % self._image_every == 1 or self._image_every == 1:
            self._draw("mask/last", report)
        if report.since_best == 0:
            self._draw("mask/best", report)

    def close(self) -> None:
        """Write the settings beside what they led to, and close the file."""
        if self._last is not None:
            reached = {
                "final/best_return": self._last.best_return,
                "final/accuracy": self._last.info["accuracy"],
                "final/heads_pruned": self._last.info["heads_pruned"],
            }
            steps = self._last.steps
            self._writer.add_hparams(self._settings, reached, run_name=".", global_step=steps)
        self._writer.close()

    def _draw(self, name: str, report: EpisodeReport) -> None:
        picture = mask_picture(report.mask)
        self._writer.add_image(name, picture, report.steps, dataformats="HWC")

    def _computed(self) -> int:
        return sum(evaluator.evaluations for evaluator in self._evaluators)


def mask_picture(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """Return one square per head, dark = kept, uint8 (14 L + 1, 14 H + 1, 3); layer 0 on top."""
    colours = np.where(mask[..., None], KEPT, PRUNED).astype(np.uint8)
    squares = colours.repeat(CELL, axis=0).repeat(CELL, axis=1)
    squares[::CELL] = GRID
    squares[:, ::CELL] = GRID
    padding = ((0, 1), (0, 1), (0, 0))
    return np.pad(squares, padding, constant_values=GRID[0])
