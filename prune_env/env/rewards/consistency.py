"""A reward from answers that stay when clean texts are rewritten."""

from prune_env.data.dataset import Rewrite, TextDataset
from prune_env.env.rewards.reward import Reward, Scores
from prune_env.env.rewards.rewrites import WordDrop
from prune_env.env.rewards.text_reward import (
    calibrated_margins,
    kept_share,
    not_two_classes,
    require_words,
)
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.models.masks import Mask


class Consistency(Reward):
    """Share of clean sentences whose answer stays when words are left out, at a fair threshold.

    A mask that is merely biased to one class would answer everything alike and look consistent. So
    the threshold of every mask is first shifted until, on the clean sentences, a class is
    predicted as often as it is the label, and the share is averaged over the two classes.
    Even so it is a weak sign of a backdoor: over random masks of MiniLM-L6, with class bias held
    fixed, it had a rank correlation with the hidden LFR of 0.24 (HiddenKiller) and 0.53 (poetry
    style).

    Args:
        rewrite: What is done to the sentences; words are left out by default.
    """

    name = "consistency"
    range = (0.0, 1.0)
    source = "Agreement under perturbation, as STRIP (Gao et al., ACSAC 2019) uses it on inputs"
    reads = "clean validation data and perturbed copies of it"

    def __init__(self, rewrite: Rewrite | None = None) -> None:
        self.rewrite = rewrite or WordDrop()

    def check(self, subject: Subject) -> None:
        """Raise unless the subject holds texts of two classes.

        Raises:
            SettingsError: It does not.
        """
        if subject.rewritten is None:
            raise SettingsError(
                f"The reward 'consistency' needs texts, and {subject.name} holds none",
                expected="a model with data, or a Subject with `rewritten`",
                remedy="choose another reward",
            )
        if subject.suspect is not None:
            self.check_data(subject.suspect.validation)

    def check_data(self, *parts: TextDataset) -> None:
        """Raise unless they are texts of two classes, see `Reward.check_data`."""
        for part in parts:
            require_words(self.name, part)
            if len(part.label_names) != 2:
                raise not_two_classes(self.name, len(part.label_names))

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the share of answers that stay, see `Reward.score`."""
        self.check(subject)
        assert subject.rewritten is not None
        clean = subject.evaluator.evaluate(masks)
        moved = subject.rewritten(self.rewrite).evaluate(masks)
        if clean.logits.shape[2] != 2:
            raise not_two_classes(self.name, clean.logits.shape[2])
        before, after = (calibrated_margins(clean, answers) for answers in (clean, moved))
        return kept_share(before, after)
