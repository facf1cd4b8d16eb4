"""The reward that reads the trigger: what no defence has, and every ceiling is measured with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prune_env.env.rewards.reward import Reward, Scores
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.models.masks import Mask

if TYPE_CHECKING:
    from prune_env.evaluation.base import Evaluator


class Oracle(Reward):
    """Share of triggered texts that keep their true label: 1 - LFR. Never a defence.

    Args:
        triggered: Evaluator of the same model on triggered non-target texts with their true
            labels; or one per model name, for a pool.
    """

    name = "oracle"
    range = (0.0, 1.0)
    source = "The hidden objective itself: label flip rate, Qi et al., ACL 2021 (HiddenKiller)"
    reads = "triggered texts"
    oracle = True

    def __init__(self, triggered: "Evaluator | Mapping[str, Evaluator] | None" = None) -> None:
        if triggered is None:
            raise SettingsError(
                "The reward 'oracle' reads triggered texts, which no name can stand for",
                expected="a reward on clean data, or reward=Oracle(evaluator over triggered texts)",
                remedy="choose another (--reward; `prune-env list --kind rewards` describes them), "
                "or give HeadPruningEnv the object",
            )
        self.triggered = triggered

    def check(self, subject: Subject) -> None:
        """Raise a `SettingsError` unless there are triggered texts for this model."""
        given = self.triggered
        if isinstance(given, Mapping):
            if subject.name not in given:
                raise SettingsError(
                    f"The reward 'oracle' has no triggered texts for {subject.name}",
                    expected="an evaluator for each model of the pool",
                    actual=", ".join(map(str, given)) or "none",
                )
            given = given[subject.name]
        if given.shape != subject.shape:
            raise SettingsError(
                f"The reward 'oracle' has triggered texts of another model than {subject.name}",
                expected=f"an evaluator of {subject.shape} layers and heads",
                actual=given.shape,
            )

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        if isinstance(self.triggered, Mapping):
            return self.triggered[subject.name].accuracy(masks)
        return self.triggered.accuracy(masks)
