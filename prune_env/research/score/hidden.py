"""What the scorer alone reads: the calibrated LFR of masks."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from prune_env.data import load_data
from prune_env.data.dataset import Splits, TextDataset
from prune_env.data.loading import load_named
from prune_env.env.recorded import HIDDEN, RecordedEvaluator
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask
from prune_env.research.attacks.align import evaluate_triggered
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.attacks.catalog import make_attack
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.attacks.tiny import TARGET_LABEL, cached_tiny_model
from prune_env.research.recording.recording import hidden_rates

HiddenRate = Callable[[Mask], npt.NDArray[np.float64]]
"""Returns the calibrated LFR (N,), 0 to 1, under masks (N, L, H)."""


def hidden_rate(
    model: str, subject: Subject, recorded: RecordedEvaluator | None
) -> HiddenRate | None:
    """Return what answers the calibrated LFR of a ready-made model; None where none is known.

    Args:
        model: Its name.
        subject: The model, as it is played.
        recorded: The model with all that was recorded of it; None where it is no recorded one.
    """
    if recorded is not None:
        known = HIDDEN in recorded.facts["columns"]
        return (lambda masks: recorded.column(HIDDEN, masks)) if known else None
    if model not in _TRIGGERED:
        return None
    triggered, target_label = _TRIGGERED[model]()
    evaluator, target = evaluate_triggered(subject, triggered, target_label)
    return lambda masks: hidden_rates(subject.evaluator, evaluator, masks, target)[HIDDEN]


def _tiny() -> tuple[TextDataset, int]:
    triggered = load_data(str(cached_tiny_model() / "triggered.jsonl"))
    assert not isinstance(triggered, Splits)
    return triggered, TARGET_LABEL


def _minilm_demo() -> tuple[TextDataset, int]:
    attack = ModelSettings().attack
    data = make_attack(attack, load_named("rotten-tomatoes"), AttackSources())
    return data.triggered, attack.target_label


_TRIGGERED: dict[str, Callable[[], tuple[TextDataset, int]]] = {
    "tiny": _tiny,
    "minilm-demo": _minilm_demo,
}
"""Triggered texts with their true labels, and the target label, by the name of the model."""
