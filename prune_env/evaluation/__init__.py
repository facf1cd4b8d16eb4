"""Accuracy under a head mask: the obvious evaluator, and a fast one with the same answers.

Names are imported at first use, so that the protocol costs no import of torch.
"""

from typing import TYPE_CHECKING

from prune_env.utils.lazy import lazy_names

if TYPE_CHECKING:
    from prune_env.evaluation.base import NO_CLASS, Evaluation, Evaluator
    from prune_env.evaluation.mask_evaluator import MaskEvaluator
    from prune_env.evaluation.model_evaluator import ReferenceEvaluator

_HOMES = {
    "NO_CLASS": "base",
    "Evaluation": "base",
    "Evaluator": "base",
    "MaskEvaluator": "mask_evaluator",
    "ReferenceEvaluator": "model_evaluator",
}

__all__ = ["NO_CLASS", "Evaluation", "Evaluator", "MaskEvaluator", "ReferenceEvaluator"]


if not TYPE_CHECKING:  # or type checkers would take every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
