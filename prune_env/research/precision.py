"""The precision in which models are measured, and that a file of values goes on in its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune_env.errors import StateError
from prune_env.evaluation.base import Evaluator
from prune_env.evaluation.model_evaluator import ModelEvaluator
from prune_env.utils.runtime import VARIABLE, use_bf16

PRECISION = "precision"
"""In the identity of values: bf16 or fp32; not there where no model runs."""


def precision_of(evaluator: Evaluator) -> dict[str, str]:
    """Return what an identity says of the precision in which a model answers now.

    Args:
        evaluator: Of the model; empty is what is returned of one that runs none.

    Raises:
        SettingsError: PRUNE_ENV_PRECISION holds no precision.
    """
    if not isinstance(evaluator, ModelEvaluator):
        return {}
    return {PRECISION: "bf16" if use_bf16("auto", evaluator.device) else "fp32"}


def check_precision(path: Path, asked: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raise if values that a file holds were measured in another precision.

    Margins and rewards of one mask differ by it, and a threshold that is calibrated on them.

    Args:
        path: The file.
        asked: Identity of what is to be measured.
        held: That in the file; one of an earlier release, which does not tell, goes on.

    Raises:
        StateError: They were.
    """
    now, then = asked.get(PRECISION), held.get(PRECISION)
    if then in ("bf16", "fp32") and now is not None and now != then:
        raise StateError(
            f"{path} was measured in another precision",
            expected=f"{now}, in which models run here and now",
            actual=then,
            remedy=f"set {VARIABLE}={then}, or choose another --out",
        )
