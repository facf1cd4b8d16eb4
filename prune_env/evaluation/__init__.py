"""Accuracy under a head mask: the obvious evaluator, and a fast one with the same answers.

Names are imported at first use, so that the protocol costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
