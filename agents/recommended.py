"""Which of two masks a training recommends: that of its agent, or of its best episode."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from prune_env.agents.record import TIE, LearningRecord
from prune_env.env.subject import Subject
from prune_env.evaluation.guard import tau_of
from prune_env.models import Mask, save_mask
from prune_env.models.masks import oracle_mark

BEST_MET = "best_met.json"


def judge_best_met(
    record: LearningRecord, tests: gym.Env[Any, Any], folder: Path
) -> dict[str, Any] | None:
    """Write the mask of the best episode, if any; return what it reaches on all sentences.

    Plain values: `model`, `accuracy`, `heads_pruned`, `keeps_tau`, `total_reward`, and `mask` in
    the model's own shape, rows of 0 (pruned) and 1 (kept).

    Args:
        record: Of the agent.
        tests: An environment of the same models, on all sentences.
        folder: Takes the mask, as `best_met.json`, which tells if the trigger chose it.
    """
    if record.best_mask is None or record.best_model is None:
        return None
    core = tests.get_wrapper_attr("core")
    board = core.pool.find(record.best_model)
    masks = board.crop(np.stack([record.best_mask, board.available]))
    judged = board.subject.evaluator.accuracy(masks)
    scores = core.reward.score(board.subject, masks, judged).sum(axis=1)
    accuracy, unpruned = judged.tolist()
    mask = masks[0]
    _write(folder / BEST_MET, mask, board.subject, oracle=record.oracle)
    pruned = board.pruned(record.best_mask)
    return {
        "model": record.best_model,
        "accuracy": accuracy,
        "heads_pruned": pruned["head"],
        **({} if board.subject.units.heads_only else {"units_pruned": pruned}),
        "keeps_tau": accuracy >= tau_of(core.settings, unpruned, board.subject.evaluator),
        "total_reward": float(scores[0] - scores[1]),
        "mask": mask.astype(int).tolist(),
    }


def _write(path: Path, mask: Mask, subject: Subject, *, oracle: bool) -> None:
    """Write a mask, in the form that says what it chooses from."""
    meta = {"model": subject.name, **oracle_mark(oracle)}
    unit_map = None if subject.suspect is None else subject.suspect.unit_map
    if unit_map is None:
        save_mask(path, mask, **meta)
        return
    from prune_env.models.unit_masks import save_unit_mask  # noqa: PLC0415 - imports torch

    save_unit_mask(path, mask, unit_map, **meta)


def recommend(
    best: Mapping[str, Any] | None, met: Mapping[str, Any] | None
) -> Literal["best", "best_met"] | None:
    """Return what to use: the agent, or the mask met while it learned.

    The higher reward on all validation sentences wins, of masks that keep tau; between equal ones
    the higher accuracy. An agent that learned on several models is for all of them, a mask for
    one, so it is recommended whatever was met.

    Args:
        best: What the best agent reached without exploration, as `best.json` holds it.
        met: What `judge_best_met` returned.
    """
    if best is None:
        return None if met is None or not met["keeps_tau"] else "best_met"
    if met is None or not met["keeps_tau"] or len(best["models"]) > 1:
        return "best"
    played = best["models"][0]
    gain = met["total_reward"] - played["total_reward"]
    more_accurate = met["accuracy"] > played["accuracy"]
    return "best_met" if gain > TIE or (gain > -TIE and more_accurate) else "best"
