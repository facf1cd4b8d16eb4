"""What TensorBoard shows of an agent that learns."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from prune_env.agents.features import BoolArray
from prune_env.agents.mask_picture import mask_picture
from prune_env.agents.record import TIE, EpisodeReport
from prune_env.env.rewards.reward import Sparsity
from prune_env.evaluation import Evaluator
from prune_env.utils.escape import markdown


class TensorBoard:
    """Shows the learning in TensorBoard.

    Per episode: return, length, accuracy, heads pruned, every term of a reward that has several,
    what the algorithm reports of itself (epsilon or entropy, losses), evaluations a second and the
    share of masks that had been asked before. Heads pruned have no curve of their own where they
    are all that is paid. Per test: what the agent does without exploration. Now and then the mask
    of an episode as a picture, the best one met whenever it changes, and the agent's own at each
    better test, of a pool under the name of the model; the settings as text, and as HParams at the
    end.

    Args:
        writer: Takes it all.
        evaluators: Those of the models that are played.
        settings: What the run was started with, as plain values.
        hyperparameters: Those of the algorithm.
        subset: Sentences on which the accuracy is judged while learning, None for all of them;
            the name of its curve says so.
        counted: Masks that the evaluators had counted for this run when it was interrupted.
        told: Whether the settings were written before; texts are never purged.
        best_test: What the best test before was paid; no worse one is drawn as the best.
        ended_at: Steps after which a run had ended that only ends once more: its last test has its
            points already. None where it goes on.
        image_every: Episodes between two pictures.
        clock: Seconds.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        evaluators: Sequence[Evaluator],
        settings: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        *,
        subset: int | None = None,
        counted: int = 0,
        told: bool = False,
        best_test: float = -np.inf,
        ended_at: int | None = None,
        image_every: int = 20,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._evaluators = evaluators
        self._settings = {name: _short(value) for name, value in settings.items()}
        self._hyperparameters = {name: _short(value) for name, value in hyperparameters.items()}
        self._accuracy = "accuracy" if subset is None else f"accuracy_on_{subset}_sentences"
        self._image_every = image_every
        self._clock = clock
        self._started = clock()
        self._counted = counted
        self._computed_before = self._computed()
        self._last: EpisodeReport | None = None
        self._tested: dict[str, float] = {}
        self._best_test = best_test
        self._ended_at = ended_at
        if not told:
            writer.add_text("run/settings", _table("setting", self._settings))
            writer.add_text("run/hyperparameters", _table("hyperparameter", self._hyperparameters))
            writer.flush()  # a run that begins again relies on it

    def __call__(self, report: EpisodeReport) -> None:
        """Write one episode."""
        self._last = report
        new = self._computed() - self._computed_before
        computed = self._counted + new
        pruned = report.info["heads_pruned"]
        scalars = {
            "rollout/return": report.total_reward,
            "rollout/length": report.length,
            f"mask/{self._accuracy}": report.info["accuracy"],
            "best_met/return": report.best_return,
            "time/evaluations": computed,
            "time/evaluations_per_second": new / max(self._clock() - self._started, 1e-9),
            "time/memo_hit_rate": max(0.0, 1 - computed / report.asked),
            **report.figures,
        }
        if len(report.reward_terms) > 1:
            scalars |= {f"reward/{name}": value for name, value in report.reward_terms.items()}
        if set(report.reward_terms) != {Sparsity.name}:
            scalars["mask/heads_pruned"] = pruned
        self._write(scalars, report.steps)
        if report.number % self._image_every == 1 or self._image_every == 1:
            self._draw_mask("mask/of_last_episode", report)
        if report.new_best:
            self._draw_mask("mask/best_met", report)
            facts = {
                "model": report.info["model"],
                "return": f"{report.best_return:.4f}",
                self._accuracy.replace("_", " "): f"{report.info['accuracy']:.4f}",
                "heads pruned": pruned,
                **_by_layer(report.mask),
            }
            table = _table("mask of the best episode so far", facts)
            self._writer.add_text("run/best_mask_met", table, report.steps)

    def tested(self, steps: int, played: Sequence[Mapping[str, Any]]) -> None:
        """Write what the agent did without exploration, on all validation sentences.

        Args:
            steps: Environment steps learned from so far.
            played: Results of `callbacks.play`, one a model.
        """
        if steps == self._ended_at:
            return
        names = {"return": "total_reward", "accuracy": "accuracy", "heads_pruned": "heads_pruned"}
        self._tested = {
            f"agent/{name}": float(np.mean([result[key] for result in played]))
            for name, key in names.items()
        }
        self._write(self._tested, steps)
        if self._tested["agent/return"] > self._best_test + TIE:
            self._best_test = self._tested["agent/return"]
            for result in played[:MODELS_DRAWN]:
                tag = self._tag("mask/of_best_agent", result["model"])
                self._draw(tag, np.array(result["mask"], bool), steps)

    def close(self) -> None:
        """Write the settings beside what they led to, and close the file."""
        if self._last is not None:
            # Named like the curves, whose last values TensorBoard then shows beside the settings.
            reached = {"best_met/return": self._last.best_return, **self._tested}
            for summary in hparams({**self._settings, **self._hyperparameters}, reached):
                self._writer._get_file_writer().add_summary(summary)
        self._writer.close()

    def _write(self, scalars: Mapping[str, float], steps: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, steps)

    def _draw_mask(self, tag: str, report: EpisodeReport) -> None:
        self._draw(self._tag(tag, report.info["model"]), report.mask, report.steps)

    def _draw(self, name: str, mask: BoolArray, steps: int) -> None:
        self._writer.add_image(name, mask_picture(mask), steps, dataformats="HWC")

    def _tag(self, tag: str, model: str) -> str:
        """Return the tag of a picture; in a pool it names the model."""
        return tag if len(self._evaluators) == 1 else f"{tag}/{model}"

    def _computed(self) -> int:
        return sum(evaluator.evaluations for evaluator in self._evaluators)


MODELS_DRAWN = 4
"""Of a pool, so many models have their tested mask drawn."""


def _by_layer(mask: BoolArray) -> dict[str, str]:
    """Return which heads of each layer are gone, as a line of text."""
    return {
        f"gone from layer {index}": ", ".join(map(str, np.flatnonzero(~row))) or "none"
        for index, row in enumerate(mask)
    }


def _table(title: str, facts: Mapping[str, Any]) -> str:
    """Return a table in Markdown."""
    rows = [f"| {name} | {markdown(str(value))} |" for name, value in facts.items()]
    return "\n".join([f"| {title} | |", "|---|---|", *rows])


def _short(value: Any) -> Any:
    """Return a setting as HParams take it: numbers and truths as they are, all else as text."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping) and set(value) == {"start", "end"}:
        return f"{value['start']:g} to {value['end']:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
