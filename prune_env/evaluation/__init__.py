"""Accuracy under a head mask: the obvious evaluator, and a fast one with the same answers."""

from prune_env.evaluation.base import NO_CLASS, Evaluation, Evaluator, Masks
from prune_env.evaluation.reference import ReferenceEvaluator

__all__ = ["NO_CLASS", "Evaluation", "Evaluator", "Masks", "ReferenceEvaluator"]
